"""MixConv: kernels of several sizes share the channels (arXiv:1907.09595)."""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.tracing import listed


def split_channels(channels: int, parts: int) -> list[int]:
    """Equal shares; the first takes the remainder too."""
    share = channels // parts
    return [channels - share * (parts - 1), *[share] * (parts - 1)]


class MixedConv2d(nn.ModuleList):
    """Splits the channels, convolves each part with its own kernel size, concatenates. Keys `0`, `1`, ..."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernels: tuple[int, ...],
        stride: int = 1,
        *,
        dilation: int = 1,
        depthwise: bool = False,
        pad_type: str = "",
    ) -> None:
        in_splits = split_channels(in_channels, len(kernels))
        splits = zip(in_splits, split_channels(channels, len(kernels)), kernels, strict=True)
        super().__init__(
            make_conv(
                inputs, outputs, kernel, stride, dilation=dilation, groups=inputs if depthwise else 1, pad_type=pad_type
            )
            for inputs, outputs, kernel in splits
        )
        self.in_splits = in_splits

    def forward(self, x: Tensor) -> Tensor:
        parts = listed(x.split(self.in_splits, 1), len(self.in_splits))
        return torch.cat([conv(part) for conv, part in zip(self, parts, strict=True)], 1)
