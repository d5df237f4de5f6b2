"""Attention over channels: each map is scaled by a gate computed from the pooled maps."""

from __future__ import annotations

from math import log2

import torch.nn as nn
from torch import Tensor

from zoo.models.layers.activation import make_activation


def make_divisible(value: float, divisor: int = 8, round_limit: float = 0.9) -> int:
    """Nearest multiple of `divisor`, at least one; a step up where it would fall below `round_limit * value`."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < round_limit * value else rounded


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation (arXiv:1709.01507) with the keys `fc1`, `fc2`."""

    def __init__(self, channels: int, ratio: float = 1 / 16, act: str = "relu") -> None:
        super().__init__()
        hidden = make_divisible(channels * ratio, round_limit=0.0)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.act = make_activation(act)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True)
        return x * self.fc2(self.act(self.fc1(pooled))).sigmoid()


class EfficientChannelAttention(nn.Module):
    """ECA (arXiv:1910.03151): a 1-D convolution over channels, its kernel the odd number nearest (log2(C) + 1) / 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = int((log2(channels) + 1) / 2)
        kernel = max(kernel if kernel % 2 else kernel + 1, 3)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3)).unsqueeze(1)
        return x * self.conv(pooled).sigmoid().transpose(1, 2).unsqueeze(-1)
