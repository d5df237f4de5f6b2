"""CSPNeXt, the backbone of RTMDet: Lyu et al. (arXiv:2212.07784), section 3.1."""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.cspnext import CspNextSpec
from zoo.models.base import Step
from zoo.models.conv_net import DilatedConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.channel_attention import EffectiveSqueezeExcite
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.norm_act import norm_act_factory

__getattr__ = family_attributes("cspnext")

ConvFactory = partial[ConvNormAct]


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


class CspNextBlock(nn.Module):
    """3x3, then separable 5x5 convolution; with `skip` the input is added."""

    def __init__(self, conv: ConvFactory, channels: int, dilation: int, skip: bool, drop_path: float) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3, dilation=dilation)
        self.conv2 = DepthwiseSeparableConv(conv, channels, dilation)
        self.skip = skip
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x))
        return self.drop_path(out) + x if self.skip else out


class CspNextLayer(nn.Module):
    """Two paths from one input, the main one through the blocks; attention over both joins them."""

    def __init__(
        self, spec: CspNextSpec, conv: ConvFactory, channels: int, dilation: int, skip: bool, rates: list[float]
    ) -> None:
        super().__init__()
        hidden = int(channels * spec.expand_ratio)
        self.short_conv = conv(channels, hidden, 1)
        self.main_conv = conv(channels, hidden, 1)
        self.blocks = nn.Sequential(*(CspNextBlock(conv, hidden, dilation, skip, rate) for rate in rates))
        self.attention = EffectiveSqueezeExcite(2 * hidden) if spec.channel_attention else nn.Identity()
        self.final_conv = conv(2 * hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], 1)
        return self.final_conv(self.attention(both))


class CspNext(DilatedConvNet):
    """Three convolutions, stages of a strided convolution and two paths, pooling, classifier `head.fc`.

    The last stage has spatial pyramid pooling, and blocks without residual connections.
    """

    spec: CspNextSpec

    def build(self, output_stride: int, drop_path_rate: float) -> None:
        spec, in_chans = self.spec, self.in_chans
        self.conv = partial(ConvNormAct, norm_act=norm_act_factory(spec.norm_layer, spec.act_layer))
        self._make_stem(spec, in_chans)
        self._make_stages(spec, output_stride, drop_path_rate)

    def _make_stem(self, spec: CspNextSpec, in_chans: int) -> None:
        channels = int(spec.channels[0] * spec.widen_factor) // 2
        half = channels // 2
        self.stem = nn.Sequential(
            self.conv(in_chans, half, 3, 2), self.conv(half, half, 3), self.conv(half, channels, 3)
        )
        self.feature_info = [{"num_chs": channels, "reduction": 2, "module": "stem"}]
        self.num_features = channels

    def _make_stages(self, spec: CspNextSpec, output_stride: int, drop_path_rate: float) -> None:
        depths = [max(round(depth * spec.deepen_factor), 1) for depth in spec.depths]
        rates = [*drop_path_schedule(drop_path_rate, sum(depths[:-1])), *[0.0] * depths[-1]]
        reduction, dilation = 2, 1
        self.stages = nn.Sequential()
        for index, (depth, base_channels) in enumerate(zip(depths, spec.channels, strict=True)):
            channels, is_last = int(base_channels * spec.widen_factor), index == len(depths) - 1
            first_dilation, stride = dilation, 2
            if 2 * reduction > output_stride:
                dilation, stride = 2 * dilation, 1
            reduction *= stride
            stage = nn.Sequential(self.conv(self.num_features, channels, 3, stride, dilation=first_dilation))
            if is_last:
                stage.append(SpatialPyramidPooling(self.conv, channels))
            stage.append(CspNextLayer(spec, self.conv, channels, dilation, not is_last, rates[:depth]))
            self.stages.append(stage)
            rates = rates[depth:]
            self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": f"stages.{index}"})
            self.num_features = channels

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "stem", self.stem
        for index, stage in enumerate(self.stages):
            yield f"stages.{index}", stage


def repair_keys(state_dict: MutableMapping[str, Tensor], model: nn.Module) -> MutableMapping[str, Tensor]:  # noqa: ARG001 - the call has both
    """Rename the stages of OpenMMLab's files, which count them from 1 and may be those of a detector's backbone."""

    def renamed(key: str) -> str:
        return re.sub(r"^stage(\d+)\.", lambda found: f"stages.{int(found[1]) - 1}.", key.removeprefix("backbone."))

    return {renamed(key): value for key, value in state_dict.items()}
