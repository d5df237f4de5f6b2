"""Cells of a map, or patches of an image, embedded by a convolution and a layer norm."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor


class ConvEmbed(nn.Module):
    """Image (N, C, H, W) -> map (N, H / stride, W / stride, D), the channels last: convolution `proj`, then `norm`.

    Args:
        in_channels, channels: of input and output.
        kernel, stride, padding: of the convolution; patches overlap where the kernel is larger than the stride.
        of_map: the input is a map (N, H, W, C).
    """

    def __init__(
        self, in_channels: int, channels: int, kernel: int, stride: int, padding: int = 0, *, of_map: bool = False
    ) -> None:
        super().__init__()
        self.of_map, self.patch_size = of_map, (kernel, kernel)
        self.proj = nn.Conv2d(in_channels, channels, kernel, stride, padding)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2) if self.of_map else x
        return self.norm(self.proj(x).permute(0, 2, 3, 1))
