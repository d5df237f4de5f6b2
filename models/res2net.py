"""Res2Net: Gao et al., Res2Net: A New Multi-scale Backbone Architecture (arXiv:1904.01169)."""

from __future__ import annotations

from functools import partial

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.res2net import Res2NetSpec
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.multi_scale import multi_scale
from zoo.models.layers.norm import norm_factory
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace
from zoo.models.resnet import BlockKind, ResNet, bottleneck_width, shortcut_parts

__getattr__ = family_attributes("res2net")


class MultiScaleBlock(ResidualBlock):
    """A bottleneck whose 3x3 convolutions run in a row, each on a group of maps plus the output of the one before.

    The last group passes by. In a block that changes the shape the groups are not added, and the last one is pooled.
    """

    def __init__(self, spec: Res2NetSpec, place: BlockPlace, drop_block: nn.Module) -> None:
        super().__init__(shortcut_parts(spec, place), act="act3", last_norm="bn3")
        norm, act = norm_factory(spec.norm_layer), partial(make_activation, spec.act_layer)
        width, stride, num_convs = bottleneck_width(spec, place), place.stride, spec.scale - 1
        conv = partial(make_conv, width, width, 3, stride, dilation=place.first_dilation, groups=spec.cardinality)
        self.adds = place.keeps_shape
        self.conv1 = make_conv(place.in_channels, width * spec.scale, 1)
        self.bn1 = norm(width * spec.scale)
        self.act1 = act()
        self.convs = nn.ModuleList(conv() for _ in range(num_convs))
        self.bns = nn.ModuleList(norm(width) for _ in range(num_convs))
        self.act2 = act()
        self.pool = nn.Identity() if self.adds else nn.AvgPool2d(3, stride, padding=1)
        self.drop_block = drop_block
        self.conv3 = make_conv(width * spec.scale, place.channels, 1)
        self.bn3 = norm(place.channels)
        self.act3 = act()

    def branch(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.drop_block(multi_scale(x, self.convs, self.bns, self.act2, self.pool, adds=self.adds))
        return super().branch(self.bn3(self.conv3(x)))


class Res2Net(ResNet):
    """ResNet of multi-scale blocks."""

    blocks = {"res2net": BlockKind(MultiScaleBlock, 4)}
