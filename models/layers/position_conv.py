"""A depthwise convolution that tells the positions of a map apart (Chu et al., CPVT, arXiv:2102.10882)."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor


class PositionConv(nn.Module):
    """`x + proj(x)`: what the neighbours of a cell say of its position, added to it.

    A map is (N, C, H, W), or with `channels_last` (N, H, W, C).
    """

    def __init__(self, channels: int, *, channels_last: bool = False) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.proj = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.channels_last:
            return x + self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.proj(x)
