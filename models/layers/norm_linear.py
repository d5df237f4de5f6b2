"""A classifier that norms what it reads."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from zoo.models.layers.linear_map import Diagonal, LinearMap


class NormLinear(nn.Module):
    """Batch norm, dropout, linear layer: (N, C) -> (N, classes). The linear layer starts with a deviation of 0.02."""

    def __init__(self, in_channels: int, num_classes: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(in_channels)
        self.drop = nn.Dropout(drop_rate)
        self.linear = nn.Linear(in_channels, num_classes)

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.drop(self.bn(x)))

    def fuse(self) -> nn.Module:
        """One linear layer, without the dropout."""
        return LinearMap.of(self.linear).after(Diagonal.of(self.bn)).as_layer(self.linear)
