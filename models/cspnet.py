"""Cross Stage Partial networks, DarkNet, and the backbones of YOLOv5.

Wang et al., CSPNet (arXiv:1911.11929); Bochkovskiy et al., YOLOv4 (arXiv:2004.10934); Redmon and Farhadi, YOLOv3
(arXiv:1804.02767).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.cspnet import CspNetSpec
from zoo.core.errors import UsageError
from zoo.models.base import Step
from zoo.models.conv_net import DilatedConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.norm_act import norm_act_factory

__getattr__ = family_attributes("cspnet")

Value = TypeVar("Value", int, float)


def at_stage(value: Value | tuple[Value, ...], stage: int, stages: int) -> Value:
    """A spec's value for one stage; raises UsageError where a tuple has not one for each."""
    if not isinstance(value, tuple):
        return value
    if len(value) != stages:
        raise UsageError(f"A network of {stages} stages needs as many values, found {len(value)}: {value}.")
    return value[stage]


class StageStyle:
    """What distinguishes one stage from another, and the makers of its layers.

    `channels` leave the stage, `stride` is that by which it reduces the resolution where it is not dilated.
    """

    def __init__(self, spec: CspNetSpec, index: int) -> None:
        stages = len(spec.layers)
        self.spec = spec
        self.channels = spec.channels[index]
        self.stride = spec.first_stride if index == 0 else 2
        self.groups = at_stage(spec.groups, index, stages)
        self.block_channels = round(self.channels * at_stage(spec.block_ratio, index, stages))
        self.hidden = round(self.block_channels * at_stage(spec.bottle_ratio, index, stages))
        self.expanded = round(self.channels * at_stage(spec.expand_ratio, index, stages))
        self.conv = partial(ConvNormAct, norm_act=norm_act_factory(spec.norm_layer, spec.act_layer))

    def attention(self, channels: int) -> nn.Module:
        if not self.spec.attn_layer:
            return nn.Identity()
        return SqueezeExcite(channels, self.spec.se_ratio, self.spec.act_layer)


class Block(nn.Module):
    """`shortcut + branch(x)`, with stochastic depth."""

    last_conv: ClassVar[str]

    def __init__(self, drop_path: float) -> None:
        super().__init__()
        self.drop_path = make_drop_path(drop_path)

    def branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.drop_path(self.branch(x)) + x


class BottleneckBlock(Block):
    """1x1, 3x3 (grouped), 1x1, and an activation after the sum."""

    last_conv = "conv3"

    def __init__(self, style: StageStyle, in_channels: int, dilation: int, drop_path: float) -> None:
        super().__init__(drop_path)
        hidden, channels = style.hidden, style.block_channels
        self.conv1 = style.conv(in_channels, hidden, 1)
        self.conv2 = style.conv(hidden, hidden, 3, dilation=dilation, groups=style.groups)
        self.attn2 = style.attention(hidden)
        self.conv3 = style.conv(hidden, channels, 1, act="identity")
        self.act3 = make_activation(style.spec.act_layer)

    def branch(self, x: Tensor) -> Tensor:
        return self.conv3(self.attn2(self.conv2(self.conv1(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.act3(super().forward(x))


class DarkBlock(Block):
    """1x1, then 3x3."""

    last_conv = "conv2"

    def __init__(self, style: StageStyle, in_channels: int, dilation: int, drop_path: float) -> None:
        super().__init__(drop_path)
        self.conv1 = style.conv(in_channels, style.hidden, 1)
        self.attn = style.attention(style.hidden)
        self.conv2 = style.conv(style.hidden, style.block_channels, 3, dilation=dilation, groups=style.groups)

    def branch(self, x: Tensor) -> Tensor:
        return self.conv2(self.attn(self.conv1(x)))


class EdgeBlock(Block):
    """3x3, then 1x1: a fused MBConv with an activation at its end."""

    last_conv = "conv2"

    def __init__(self, style: StageStyle, in_channels: int, dilation: int, drop_path: float) -> None:
        super().__init__(drop_path)
        self.conv1 = style.conv(in_channels, style.hidden, 3, dilation=dilation, groups=style.groups)
        self.attn = style.attention(style.hidden)
        self.conv2 = style.conv(style.hidden, style.block_channels, 1)

    def branch(self, x: Tensor) -> Tensor:
        return self.conv2(self.attn(self.conv1(x)))


BLOCKS: dict[str, type[BottleneckBlock | DarkBlock | EdgeBlock]] = {
    "bottleneck": BottleneckBlock,
    "dark": DarkBlock,
    "edge": EdgeBlock,
}


@dataclass(frozen=True)
class StagePlace:
    """Where in the network a stage stands: `stride` is 1 where `output_stride` replaced it by dilation.

    `first_dilation` is that of the stage before, for the convolution that would stride. `rates` are those of
    stochastic depth, one for each block.
    """

    in_channels: int
    stride: int
    dilation: int
    first_dilation: int
    rates: list[float]


def make_down(style: StageStyle, place: StagePlace, channels: int) -> nn.Module:
    """The downsampling in front of a stage, to `channels`."""
    if style.spec.avg_down:
        pool = nn.AvgPool2d(2) if place.stride == 2 else nn.Identity()
        return nn.Sequential(pool, style.conv(place.in_channels, channels, 1, groups=style.groups))
    return style.conv(place.in_channels, channels, 3, place.stride, dilation=place.first_dilation, groups=style.groups)


def make_blocks(style: StageStyle, place: StagePlace, in_channels: int) -> nn.Sequential:
    make_block, blocks = BLOCKS[style.spec.block_type], nn.Sequential()
    for rate in place.rates:
        blocks.append(make_block(style, in_channels, place.dilation, rate))
        in_channels = style.block_channels
    return blocks


class DarkStage(nn.Module):
    """Downsampling and blocks."""

    def __init__(self, style: StageStyle, place: StagePlace) -> None:
        super().__init__()
        self.conv_down = make_down(style, place, style.channels)
        self.blocks = make_blocks(style, place, style.channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.conv_down(x))


class CrossStage3(nn.Module):
    """Of the channels one half passes through the blocks, the other by them; a 1x1 convolution joins the two."""

    def __init__(self, style: StageStyle, place: StagePlace) -> None:
        super().__init__()
        spec, channels = style.spec, place.in_channels
        self.conv_down: nn.Module = nn.Identity()
        if style.stride != 1:
            channels = style.channels if spec.down_growth or spec.avg_down else channels
            self.conv_down = make_down(style, place, channels)
        self.conv_exp = style.conv(channels, style.expanded, 1, act="identity" if spec.cross_linear else None)
        self.blocks = make_blocks(style, place, style.expanded // 2)
        self.make_transition(style)
        self.conv_transition = style.conv(style.expanded, style.channels, 1)

    def make_transition(self, style: StageStyle) -> None:
        """Create what follows the blocks before the halves are joined."""

    def join(self, x: Tensor) -> Tensor:
        """(N, expanded, H, W) -> the same: both halves, the one through the blocks first."""
        through, by = x.chunk(2, 1)
        return torch.cat([self.blocks(through), by], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_transition(self.join(self.conv_exp(self.conv_down(x))))


class CrossStage(CrossStage3):
    """The stage of the paper: a 1x1 convolution after the blocks too. The halves are the other way round."""

    def make_transition(self, style: StageStyle) -> None:
        self.conv_transition_b = style.conv(style.block_channels, style.expanded // 2, 1)

    def join(self, x: Tensor) -> Tensor:
        by, through = x.chunk(2, 1)
        return torch.cat([by, self.conv_transition_b(self.blocks(through))], 1)


STAGES: dict[str, type[DarkStage | CrossStage3]] = {"dark": DarkStage, "cs3": CrossStage3, "csp": CrossStage}


class CspNet(DilatedConvNet):
    """Stem, stages, pooling, classifier `head.fc`."""

    spec: CspNetSpec

    def build(self, output_stride: int, drop_path_rate: float) -> None:
        spec, in_chans = self.spec, self.in_chans
        self.default_out_indices = spec.feature_levels
        self.feature_info = []
        stem_stride = self._make_stem(spec, in_chans)
        self._make_stages(spec, stem_stride, output_stride, drop_path_rate)

    def _make_stem(self, spec: CspNetSpec, in_channels: int) -> int:
        """Create `stem`; returns its stride. Its level is what its last convolution gives."""
        norm_act = norm_act_factory(spec.norm_layer, spec.act_layer)
        # A kernel of even size: an output of half the size of an even input.
        padding = spec.stem_kernel_size // 2 - 1 if spec.stem_kernel_size % 2 == 0 else None
        self.stem = nn.Sequential()
        for index, channels in enumerate(spec.stem_channels):
            stride, padding = (1, None) if index else (spec.stem_stride, padding)
            conv = ConvNormAct(in_channels, channels, spec.stem_kernel_size, stride, norm_act=norm_act, padding=padding)
            self.stem.add_module(f"conv{index + 1}", conv)
            in_channels = channels
        last = f"stem.conv{len(spec.stem_channels)}"
        self.feature_info.append({"num_chs": in_channels, "reduction": spec.stem_stride, "module": last})
        if not spec.stem_pool:
            return spec.stem_stride
        self.stem.add_module("pool", nn.MaxPool2d(3, 2, padding=1))
        return 2 * spec.stem_stride

    def _make_stages(self, spec: CspNetSpec, reduction: int, output_stride: int, drop_path_rate: float) -> None:
        make_stage = STAGES[spec.stage_type]
        rates = drop_path_schedule(drop_path_rate, sum(spec.layers))
        channels, dilation = self.feature_info[0]["num_chs"], 1
        self.stages = nn.Sequential()
        for index, num_blocks in enumerate(spec.layers):
            style = StageStyle(spec, index)
            stride, first_dilation = style.stride, dilation
            if reduction * stride > output_stride:
                dilation, stride = dilation * stride, 1
            reduction *= stride
            place = StagePlace(channels, stride, dilation, first_dilation, rates[:num_blocks])
            rates = rates[num_blocks:]
            self.stages.append(make_stage(style, place))
            channels = style.channels
            level = {"num_chs": channels, "reduction": reduction, "module": f"stages.{index}"}
            self.feature_info.append(level)
        self.num_features = channels

    def steps(self) -> Iterator[tuple[str, Step]]:
        convs = len(self.spec.stem_channels)
        yield f"stem.conv{convs}", self.stem[:convs]
        if self.spec.stem_pool:
            yield "stem.pool", self.stem[convs:]
        for index, stage in enumerate(self.stages):
            yield f"stages.{index}", stage

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        elif isinstance(module, Block):
            # Each branch starts as zero, so the blocks as the identity (arXiv:1706.02677, section 5.1).
            nn.init.zeros_(module.get_parameter(f"{module.last_conv}.bn.weight"))
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
