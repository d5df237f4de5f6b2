"""Average pooling in the place of attention (Yu et al., PoolFormer, arXiv:2111.11418, section 3.2)."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor


class PoolingMixer(nn.Module):
    """(N, C, H, W): the mean of 3x3 neighbours without the position itself, which the shortcut adds."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x) - x
