"""RepGhostNet: Chen et al., RepGhost, a hardware-efficient ghost module via re-parameterization (arXiv:2211.06088)."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.repghost import RepGhostSpec
from zoo.models.entrypoints import family_attributes
from zoo.models.ghostnet import GhostNet, conv_norm
from zoo.models.layers.activation import make_activation

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


class RepGhostNet(GhostNet):
    """GhostNet of these modules."""

    spec: RepGhostSpec

    def make_module(self, in_channels: int, channels: int, act: str, has_gate: bool) -> nn.Module:  # noqa: ARG002
        return RepGhostModule(in_channels, channels, act)
