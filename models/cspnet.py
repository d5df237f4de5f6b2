"""Cross Stage Partial networks, DarkNet, and the backbones of YOLOv5.

Wang et al., CSPNet (arXiv:1911.11929); Bochkovskiy et al., YOLOv4 (arXiv:2004.10934); Redmon and Farhadi, YOLOv3
(arXiv:1804.02767).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.cspnet import CspNetSpec
from zoo.core.errors import UsageError
from zoo.models.base import Step, in_sequence
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import make_attention
from zoo.models.layers.conv_norm_act import conv_factory
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import KAIMING_NORMAL
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

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
        self.conv = conv_factory(spec.norm_layer, spec.act_layer)

    def attention(self, channels: int) -> nn.Module:
        spec = self.spec
        return make_attention(spec.attn_layer, channels, ratio=spec.se_ratio, act=spec.act_layer)


def bottleneck(style: StageStyle, in_channels: int, place: BlockPlace) -> ResidualBlock:
    """1x1, 3x3 (grouped), 1x1, and an activation after the sum."""
    hidden = style.hidden
    parts = {
        "conv1": style.conv(in_channels, hidden),
        "conv2": style.conv(hidden, hidden, 3, dilation=place.dilation, groups=style.groups),
        "attn2": style.attention(hidden),
        "conv3": style.conv(hidden, style.block_channels, act="identity"),
        "drop_path": make_drop_path(place.drop_path),
        "act3": make_activation(style.spec.act_layer),
    }
    return ResidualBlock(parts, act="act3", last_norm="conv3.bn")


def dark_block(style: StageStyle, in_channels: int, place: BlockPlace) -> ResidualBlock:
    """1x1, then 3x3."""
    channels, hidden = style.block_channels, style.hidden
    parts = {
        "conv1": style.conv(in_channels, hidden),
        "attn": style.attention(hidden),
        "conv2": style.conv(hidden, channels, 3, dilation=place.dilation, groups=style.groups),
        "drop_path": make_drop_path(place.drop_path),
    }
    return ResidualBlock(parts, last_norm="conv2.bn")


def edge_block(style: StageStyle, in_channels: int, place: BlockPlace) -> ResidualBlock:
    """3x3, then 1x1: a fused MBConv with an activation at its end."""
    hidden = style.hidden
    parts = {
        "conv1": style.conv(in_channels, hidden, 3, dilation=place.dilation, groups=style.groups),
        "attn": style.attention(hidden),
        "conv2": style.conv(hidden, style.block_channels),
        "drop_path": make_drop_path(place.drop_path),
    }
    return ResidualBlock(parts, last_norm="conv2.bn")


BLOCKS: dict[str, Callable[[StageStyle, int, BlockPlace], ResidualBlock]] = {
    "bottleneck": bottleneck,
    "dark": dark_block,
    "edge": edge_block,
}


def make_down(style: StageStyle, first: BlockPlace, channels: int) -> nn.Module:
    """The downsampling in front of a stage, to `channels`; `first` is the place of the stage's first block."""
    if style.spec.avg_down:
        pool = nn.AvgPool2d(2) if first.stride == 2 else nn.Identity()
        return nn.Sequential(pool, style.conv(first.in_channels, channels, groups=style.groups))
    return style.conv(first.in_channels, channels, 3, first.stride, dilation=first.first_dilation, groups=style.groups)


def make_blocks(style: StageStyle, places: list[BlockPlace], in_channels: int) -> nn.Sequential:
    make_block, blocks = BLOCKS[style.spec.block_type], nn.Sequential()
    for place in places:
        blocks.append(make_block(style, in_channels, place))
        in_channels = style.block_channels
    return blocks


class DarkStage(nn.Module):
    """Downsampling and blocks."""

    def __init__(self, style: StageStyle, places: list[BlockPlace]) -> None:
        super().__init__()
        self.conv_down = make_down(style, places[0], style.channels)
        self.blocks = make_blocks(style, places, style.channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.conv_down(x))


class CrossStage3(nn.Module):
    """Of the channels one half passes through the blocks, the other by them; a 1x1 convolution joins the two."""

    def __init__(self, style: StageStyle, places: list[BlockPlace]) -> None:
        super().__init__()
        spec, channels = style.spec, places[0].in_channels
        self.conv_down: nn.Module = nn.Identity()
        if style.stride != 1:
            channels = style.channels if spec.down_growth or spec.avg_down else channels
            self.conv_down = make_down(style, places[0], channels)
        self.conv_exp = style.conv(channels, style.expanded, 1, act="identity" if spec.cross_linear else None)
        self.blocks = make_blocks(style, places, style.expanded // 2)
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


class CspNet(ConvNet):
    """Stem, stages, pooling, classifier `head.fc`."""

    spec: CspNetSpec
    initial_values = KAIMING_NORMAL
    trunk = ("stages.*",)

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        self.default_out_indices = spec.feature_levels
        reduction = self._make_stem(spec, self.in_chans)
        styles = [StageStyle(spec, stage) for stage in range(len(spec.layers))]
        walk = walk_stages(
            [[style.channels] * depth for style, depth in zip(styles, spec.layers, strict=True)],
            spec.stem_channels[-1],
            reduction,
            strides=[style.stride for style in styles],
            output_stride=output_stride,
            drop_path=drop_path_rate,
        )
        self.stages = nn.Sequential()
        for style, places in zip(styles, walk, strict=True):
            self.feature_info.append(places[-1].level(f"stages.{len(self.stages)}"))
            self.stages.append(STAGES[spec.stage_type](style, places))
        self.num_features = styles[-1].channels

    def _make_stem(self, spec: CspNetSpec, in_channels: int) -> int:
        """Create `stem`; returns its stride. Its level is what its last convolution gives."""
        conv = conv_factory(spec.norm_layer, spec.act_layer)
        # A kernel of even size: an output of half the size of an even input.
        padding = spec.stem_kernel_size // 2 - 1 if spec.stem_kernel_size % 2 == 0 else None
        self.stem = nn.Sequential()
        for index, channels in enumerate(spec.stem_channels):
            stride, padding = (1, None) if index else (spec.stem_stride, padding)
            part = conv(in_channels, channels, spec.stem_kernel_size, stride, padding=padding)
            self.stem.add_module(f"conv{index + 1}", part)
            in_channels = channels
        self.add_level(in_channels, spec.stem_stride, f"stem.conv{len(spec.stem_channels)}")
        if not spec.stem_pool:
            return spec.stem_stride
        self.stem.add_module("pool", nn.MaxPool2d(3, 2, padding=1))
        return 2 * spec.stem_stride

    def steps(self) -> Iterator[tuple[str, Step]]:
        convs, stem = len(self.spec.stem_channels), list(self.stem.children())
        yield f"stem.conv{convs}", in_sequence(stem[:convs])
        if self.spec.stem_pool:
            yield "stem.pool", in_sequence(stem[convs:])
        yield from super().steps()
