"""RepGhostNet: Chen et al., RepGhost, a hardware-efficient ghost module via re-parameterization (arXiv:2211.06088)."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.repghost import RepGhostSpec
from zoo.models.entrypoints import family_attributes
from zoo.models.ghostnet import GhostNet, conv_norm
from zoo.models.layers.activation import make_activation
from zoo.models.layers.linear_map import Diagonal, LinearMap

__getattr__ = family_attributes("repghost")


class RepGhostModule(nn.Module):
    """A pointwise convolution, then a cheap depthwise one and a norm side by side: their sum, not their maps."""

    def __init__(self, in_channels: int, channels: int, act: str) -> None:
        super().__init__()
        self.primary_conv = nn.Sequential(*conv_norm(in_channels, channels), make_activation(act))
        self.fusion_bn = nn.Sequential(nn.BatchNorm2d(channels))
        self.cheap_operation = nn.Sequential(*conv_norm(channels, channels, 3, groups=channels))
        self.relu = make_activation(act)

    def forward(self, x: Tensor) -> Tensor:
        x = self.primary_conv(x)
        return self.relu(self.cheap_operation(x) + self.fusion_bn(x))

    def fuse(self) -> nn.Module:
        """Two convolutions in a row: the depthwise one takes over its norm and the norm beside it."""
        found = LinearMap.of(*self.cheap_operation) + Diagonal.of(self.fusion_bn[0])
        cheap = found.as_layer(self.cheap_operation[0])
        parts = OrderedDict(primary_conv=self.primary_conv, cheap_operation=cheap, relu=self.relu)
        return nn.Sequential(parts)


class RepGhostNet(GhostNet):
    """GhostNet of these modules."""

    spec: RepGhostSpec

    def make_module(self, in_channels: int, channels: int, act: str, has_gate: bool) -> nn.Module:  # noqa: ARG002
        return RepGhostModule(in_channels, channels, act)
