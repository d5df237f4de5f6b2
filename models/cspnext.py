"""CSPNeXt, the backbone of RTMDet: Lyu et al. (arXiv:2212.07784), section 3.1."""

from __future__ import annotations

import re
from collections.abc import MutableMapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.cspnext import CspNextSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.channel_attention import EffectiveSqueezeExcite
from zoo.models.layers.conv_norm_act import ConvFactory, conv_factory
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("cspnext")


class SpatialPyramidPooling(nn.Module):
    """The map beside its maxima over three windows (He et al., arXiv:1406.4729, as YOLOv4 has it)."""

    windows = (5, 9, 13)

    def __init__(self, conv: ConvFactory, channels: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.conv1 = conv(channels, hidden, 1)
        self.poolings = nn.ModuleList(nn.MaxPool2d(window, 1, padding=window // 2) for window in self.windows)
        self.conv2 = conv(hidden * (len(self.windows) + 1), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(torch.cat([x, *(pool(x) for pool in self.poolings)], 1))


class DepthwiseSeparableConv(nn.Module):
    """Depthwise 5x5, then pointwise convolution, each with norm and activation."""

    def __init__(self, conv: ConvFactory, channels: int, dilation: int) -> None:
        super().__init__()
        self.depthwise_conv = conv(channels, channels, 5, dilation=dilation, groups=channels)
        self.pointwise_conv = conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


def make_block(conv: ConvFactory, channels: int, place: BlockPlace, skip: bool) -> ResidualBlock:
    """3x3, then separable 5x5 convolution; with `skip` the input is added."""
    parts = {
        "conv1": conv(channels, channels, 3, dilation=place.dilation),
        "conv2": DepthwiseSeparableConv(conv, channels, place.dilation),
        "skip": nn.Identity() if skip else None,
        "drop_path": make_drop_path(place.drop_path),
    }
    return ResidualBlock(parts, shortcut="skip")


class CspNextLayer(nn.Module):
    """Two paths from one input, the main one through the blocks; attention over both joins them."""

    def __init__(self, spec: CspNextSpec, conv: ConvFactory, places: list[BlockPlace], skip: bool) -> None:
        super().__init__()
        channels = places[0].channels
        hidden = int(channels * spec.expand_ratio)
        self.short_conv = conv(channels, hidden, 1)
        self.main_conv = conv(channels, hidden, 1)
        self.blocks = nn.Sequential(*(make_block(conv, hidden, place, skip) for place in places))
        self.attention = EffectiveSqueezeExcite(2 * hidden) if spec.channel_attention else nn.Identity()
        self.final_conv = conv(2 * hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], 1)
        return self.final_conv(self.attention(both))


class CspNext(ConvNet):
    """Three convolutions, stages of a strided convolution and two paths, pooling, classifier `head.fc`.

    The last stage has spatial pyramid pooling, and blocks without residual connections.
    """

    spec: CspNextSpec

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0) -> None:
        spec, conv = self.spec, conv_factory(self.spec.norm_layer, self.spec.act_layer)
        width = int(spec.channels[0] * spec.widen_factor) // 2
        half = width // 2
        self.stem = nn.Sequential(conv(self.in_chans, half, 3, 2), conv(half, half, 3), conv(half, width, 3))
        self.add_level(width, 2, "stem")
        depths = [max(round(depth * spec.deepen_factor), 1) for depth in spec.depths]
        channels = [int(base * spec.widen_factor) for base in spec.channels]
        widths = [[width] * depth for width, depth in zip(channels, depths, strict=True)]
        rates = [*drop_path_schedule(drop_path_rate, sum(depths[:-1])), *[0.0] * depths[-1]]
        self.stages = nn.Sequential()
        for places in walk_stages(widths, width, 2, output_stride=output_stride, drop_path=rates):
            first, is_last = places[0], places[0].stage == len(depths) - 1
            self.stages.append(
                nn.Sequential(
                    conv(first.in_channels, first.channels, 3, first.stride, dilation=first.first_dilation),
                    *([SpatialPyramidPooling(conv, first.channels)] if is_last else []),
                    CspNextLayer(spec, conv, places, skip=not is_last),
                )
            )
            self.feature_info.append(places[-1].level(f"stages.{first.stage}"))
        self.num_features = channels[-1]


def repair_keys(state_dict: MutableMapping[str, Tensor], model: nn.Module) -> MutableMapping[str, Tensor]:  # noqa: ARG001 - the call has both
    """Rename the stages of OpenMMLab's files, which count them from 1 and may be those of a detector's backbone."""

    def renamed(key: str) -> str:
        return re.sub(r"^stage(\d+)\.", lambda found: f"stages.{int(found[1]) - 1}.", key.removeprefix("backbone."))

    return {renamed(key): value for key, value in state_dict.items()}
