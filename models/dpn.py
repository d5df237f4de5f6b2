"""Dual path networks: Chen et al., Dual Path Networks (arXiv:1707.01629). A residual and a dense path side by side."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.dpn import DpnSpec
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.pointwise_classifier import PointwiseClassifier
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("dpn")

EPS = 1e-3


def norm_conv(norm_layer: str, in_channels: int, *conv: nn.Module, act: str = "relu") -> nn.Sequential:
    """Norm, activation and, where there is one, a convolution."""
    norm = norm_act_factory(norm_layer, act, EPS)(in_channels)
    return nn.Sequential(OrderedDict(zip(("bn", "conv"), (norm, *conv), strict=False)))


class DualPathBlock(nn.Module):
    """A bottleneck that adds to the residual path, the first channels of a map, and appends to the dense path.

    The first block of a stage projects its input, to the residual path and a dense path of two increments.
    """

    def __init__(self, spec: DpnSpec, place: BlockPlace) -> None:
        super().__init__()
        scale, in_channels, increment = 2**place.stage, place.in_channels, spec.increments[place.stage]
        width, residual = spec.width * scale, (64 if spec.small else 256) * scale
        unit = partial(norm_conv, spec.norm_layer)
        self.num_residual = residual
        # Published keys tell the stride.
        self.projection = f"c1x1_w_s{place.stride}" if place.opens_stage else ""
        if self.projection:
            conv = make_conv(in_channels, residual + 2 * increment, 1, place.stride)
            self.add_module(self.projection, unit(in_channels, conv))
        self.c1x1_a = unit(in_channels, make_conv(in_channels, width, 1))
        self.c3x3_b = unit(width, make_conv(width, width, 3, place.stride, groups=spec.groups))
        self.two_outputs = spec.two_outputs
        if spec.two_outputs:
            self.c1x1_c = unit(width)
            self.c1x1_c1 = make_conv(width, residual, 1)
            self.c1x1_c2 = make_conv(width, increment, 1)
        else:
            self.c1x1_c = unit(width, make_conv(width, residual + increment, 1))

    def forward(self, x: Tensor) -> Tensor:
        paths = getattr(self, self.projection)(x) if self.projection else x
        x = self.c1x1_c(self.c3x3_b(self.c1x1_a(x)))
        n = self.num_residual
        added, appended = (self.c1x1_c1(x), self.c1x1_c2(x)) if self.two_outputs else (x[:, :n], x[:, n:])
        return torch.cat([paths[:, :n] + added, paths[:, n:], appended], 1)


class DPN(ConvNet):
    """Stem, dual path blocks and a norm, all in `features`; pooling, classifier `classifier`."""

    spec: DpnSpec

    def build(self) -> None:
        spec = self.spec
        stem = ConvNormAct(
            self.in_chans,
            spec.stem_width,
            3 if spec.small else 7,
            2,
            norm_act=norm_act_factory(spec.norm_layer, spec.act_layer, EPS),
        )
        self.features = nn.Sequential(OrderedDict(conv1_1=stem, conv1_pool=nn.MaxPool2d(3, stride=2, padding=1)))
        self.add_level(spec.stem_width, 2, "features.conv1_1")
        for places in walk_stages(self._widths(), spec.stem_width, 4):
            for place in places:
                name = f"conv{place.stage + 2}_{place.position + 1}"
                self.features.add_module(name, DualPathBlock(spec, place))
            self.feature_info.append(place.level(f"features.{name}"))
        self.num_features = place.channels
        self.features.add_module("conv5_bn_ac", norm_conv(spec.norm_layer, place.channels, act=spec.act_layer))

    def _widths(self) -> list[list[int]]:
        """Channels that leave each block, both paths together."""
        stages = zip(self.spec.depths, self.spec.increments, strict=True)
        base = 64 if self.spec.small else 256
        return [
            [base * 2**stage + increment * (position + 3) for position in range(depth)]
            for stage, (depth, increment) in enumerate(stages)
        ]

    def make_classifier(self) -> nn.Module:
        return PointwiseClassifier(self.head_hidden_size, self.num_classes) if self.num_classes else nn.Identity()

    def steps(self) -> Iterator[tuple[str, Step]]:
        return self.steps_by_level("features")

    def finish(self, x: Tensor) -> Tensor:
        return self.features[-1](x)
