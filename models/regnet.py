"""RegNet X, Y, Z and V.

Radosavovic et al., Designing Network Design Spaces (arXiv:2003.13678): X, and Y with squeeze-and-excitation; Dollar et
al., Fast and Accurate Model Scaling (arXiv:2103.06877): Z with inverted bottlenecks. V is Y with pre-activation blocks.
Weights of arXiv:2103.01988 (SEER) and arXiv:2201.08371 (SWAG) are of the Y networks.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.regnet import RegNetSpec, RegStage
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import make_attention
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import GROUPED_FAN_OUT
from zoo.models.layers.norm_act import NormActFactory, norm_act_factory
from zoo.models.layers.pool import shortcut_pool
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("regnet")

KEY_LAYOUTS = ("torchvision",)


def make_squeeze(spec: RegNetSpec, stage: RegStage, place: BlockPlace) -> nn.Module:
    """Squeeze-and-excitation whose hidden width follows from the block's input."""
    kind, hidden = "se" if spec.se_ratio else "", round(place.in_channels * spec.se_ratio)
    return make_attention(kind, stage.width, hidden=hidden, act=spec.act_layer)


def make_shortcut(spec: RegNetSpec, place: BlockPlace, norm_act: NormActFactory) -> nn.Module | None:
    """The identity, or the projection of `spec.downsample`; None where a block goes without a shortcut."""
    if place.keeps_shape:
        return nn.Identity()
    if not spec.downsample:
        return None
    stride = 1 if spec.downsample == "avg" else place.stride
    if spec.preact:
        project: nn.Module = make_conv(place.in_channels, place.channels, 1, stride)
    else:
        project = ConvNormAct(place.in_channels, place.channels, 1, stride, norm_act=norm_act, act="identity")
    if spec.downsample == "avg":
        return nn.Sequential(shortcut_pool(place.stride, place.first_dilation), project)
    return project


def bottleneck(spec: RegNetSpec, stage: RegStage, place: BlockPlace, norm_act: NormActFactory) -> ResidualBlock:
    """1x1, grouped 3x3 with the stride, squeeze-and-excitation, 1x1; the activation follows the sum."""
    conv, width, groups = partial(ConvNormAct, norm_act=norm_act), stage.width, stage.width // stage.group_size
    shortcut = make_shortcut(spec, place, norm_act)
    parts = {
        "conv1": conv(place.in_channels, width),
        "conv2": conv(width, width, 3, place.stride, dilation=place.first_dilation, groups=groups),
        "se": make_squeeze(spec, stage, place),
        "conv3": conv(width, place.channels, act="identity"),
        "act3": make_activation("identity" if spec.linear_out else spec.act_layer),
        "downsample": shortcut,
        "drop_path": make_drop_path(0.0 if shortcut is None else place.drop_path),
    }
    return ResidualBlock(parts, act="act3", last_norm="conv3.bn")


class PreBottleneck(nn.Module):
    """The bottleneck with norm and activation before each convolution; the shortcut starts after the first norm."""

    def __init__(self, spec: RegNetSpec, stage: RegStage, place: BlockPlace, norm_act: NormActFactory) -> None:
        super().__init__()
        width, groups = stage.width, stage.width // stage.group_size
        self.norm1 = norm_act(place.in_channels)
        self.conv1 = make_conv(place.in_channels, width, 1)
        self.norm2 = norm_act(width)
        self.conv2 = make_conv(width, width, 3, place.stride, dilation=place.first_dilation, groups=groups)
        self.se = make_squeeze(spec, stage, place)
        self.norm3 = norm_act(width)
        self.conv3 = make_conv(width, place.channels, 1)
        self.downsample = make_shortcut(spec, place, norm_act)
        self.drop_path = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x)
        branch = self.se(self.conv2(self.norm2(self.conv1(x))))
        branch = self.conv3(self.norm3(branch))
        if self.downsample is None:
            return branch
        return self.drop_path(branch) + self.downsample(x)


class RegNet(ConvNet):
    """Stem, four stages `s1`..`s4`, an optional 1x1 convolution, pooling, classifier `head.fc`."""

    spec: RegNetSpec
    initial_values = GROUPED_FAN_OUT

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        norm_act = norm_act_factory(spec.norm_layer, spec.act_layer, group_size=spec.norm_group_size)
        if spec.preact:
            self.stem: nn.Module = make_conv(self.in_chans, spec.stem_width, 3, 2)
        else:
            self.stem = ConvNormAct(self.in_chans, spec.stem_width, 3, 2, norm_act=norm_act)
        self.add_level(spec.stem_width, 2, "stem")
        make_block = PreBottleneck if spec.preact else bottleneck
        stages = spec.stages()
        widths = [[stage.channels] * stage.depth for stage in stages]
        walk = walk_stages(widths, spec.stem_width, 2, output_stride=output_stride, drop_path=drop_path_rate)
        for number, (stage, places) in enumerate(zip(stages, walk, strict=True), 1):
            blocks = ((f"b{place.position + 1}", make_block(spec, stage, place, norm_act)) for place in places)
            self.add_module(f"s{number}", nn.Sequential(OrderedDict(blocks)))
            self.feature_info.append(places[-1].level(f"s{number}"))
        self.trunk = tuple(level["module"] for level in self.feature_info)
        channels = stages[-1].channels
        self.num_features = spec.num_features or channels
        if spec.num_features:
            self.final_conv: nn.Module = ConvNormAct(channels, spec.num_features, norm_act=norm_act)
        else:
            # Not in place: the map before it is the last feature level.
            ends_linear = spec.linear_out or spec.preact
            self.final_conv = make_activation(spec.act_layer if ends_linear else "identity", inplace=False)

    def finish(self, x: Tensor) -> Tensor:
        return self.final_conv(x)
