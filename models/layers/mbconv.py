"""Blocks of mobile networks, each built from its row of the table: MBConv and its relatives.

Sandler et al., MobileNetV2 (arXiv:1801.04381); Tan and Le, EfficientNet (arXiv:1905.11946) and EfficientNetV2
(arXiv:2104.00298); Yang et al., CondConv (arXiv:1904.04971); Qin et al., MobileNetV4 (arXiv:2404.10518).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import (
    BlockRow,
    Conv,
    DepthwiseConv,
    FusedMBConv,
    Kernel,
    MBConv,
    MobileAttention,
    UniversalBottleneck,
    make_divisible,
)
from zoo.core.errors import UsageError
from zoo.models.layers.channel_attention import GlobalContext, MBConvSqueezeExcite
from zoo.models.layers.cond_conv import CondConv2d
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.layer_scale import LayerScale2d
from zoo.models.layers.mixed_conv import MixedConv2d
from zoo.models.layers.mobile_attention import MultiQueryAttention2d
from zoo.models.layers.norm_act import NormActFactory, norm_act_factory
from zoo.models.layers.pool import antialias_pool
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace

Parts = dict[str, nn.Module]


@dataclass(frozen=True)
class SqueezeStyle:
    """How a network builds squeeze-and-excitation.

    `act` replaces the block's activation, `gate` is "sigmoid" or "hard_sigmoid". `of_expanded` measures the hidden
    width against the expanded channels, not the block's input. It is rounded to an integer, or as `make_divisible`
    does where a `divisor` is given.
    """

    act: str = ""
    gate: str = "sigmoid"
    of_expanded: bool = False
    divisor: int = 1
    round_limit: float = 0.9

    def hidden_width(self, channels: int, ratio: float) -> int:
        if self.divisor == 1:
            return round(channels * ratio)
        return make_divisible(channels * ratio, self.divisor, self.round_limit)


@dataclass(frozen=True)
class BlockStyle:
    """What all blocks of a network share.

    `norm_act` makes a norm with activation, `act` names that activation, `pad_type` is "" or "same", `aa_layer` is
    "", "blur", "blurpc" (padded with zeros) or "avg", `se_layer` is "se" or "gc". `layer_scale` is the initial value
    of the branches' scales in blocks that can have them (0: none).
    """

    norm_act: NormActFactory
    act: str
    pad_type: str = ""
    aa_layer: str = ""
    se_layer: str = "se"
    squeeze: SqueezeStyle = SqueezeStyle()
    layer_scale: float = 0.0

    @classmethod
    def of(cls, spec: Any, **more: Any) -> BlockStyle:
        """The style of a network, by its spec's fields of these names; `more` are those that it does not have."""
        norm_act = norm_act_factory(spec.norm_layer, spec.act_layer, spec.bn_eps, spec.norm_group_size)
        return cls(norm_act, spec.act_layer, spec.pad_type, spec.aa_layer, spec.se_layer, **more)

    def conv(
        self, in_channels: int, channels: int, kernel: Kernel, stride: int = 1, dilation: int = 1, groups: int = 1
    ) -> nn.Module:
        """A convolution without bias; several kernel sizes share the channels."""
        if isinstance(kernel, int):
            return make_conv(
                in_channels, channels, kernel, stride, dilation=dilation, groups=groups, pad_type=self.pad_type
            )
        if groups not in (1, in_channels):
            raise UsageError("Mixed kernels are depthwise or in one group; this block has a group_size in between.")
        return MixedConv2d(
            in_channels, channels, kernel, stride, dilation=dilation, depthwise=groups > 1, pad_type=self.pad_type
        )

    def antialias(self, channels: int, stride: int) -> nn.Module:
        """The downsampling that takes over a convolution's stride, or an identity."""
        if stride == 1 or not self.aa_layer:
            return nn.Identity()
        return antialias_pool(self.aa_layer, channels, stride)

    def conv_stride(self, stride: int) -> int:
        return 1 if self.aa_layer else stride

    def attention(self, channels: int, ratio: float, act: str, expand: float = 1.0) -> nn.Module:
        """Channel attention; an identity where the ratio is 0.

        Args:
            channels: of the map, which are `expand` times those of the block's input.
            ratio: hidden width against the block's input, or as the squeeze style says.
            act: the block's activation.
        """
        if not ratio:
            return nn.Identity()
        if not self.squeeze.of_expanded:
            ratio /= expand
        if self.se_layer == "gc":
            return GlobalContext(channels, make_divisible(channels * ratio, 1, round_limit=0.0), act)
        hidden = self.squeeze.hidden_width(channels, ratio)
        return MBConvSqueezeExcite(channels, hidden, self.squeeze.act or act, self.squeeze.gate)

    def conv_norm(
        self, in_channels: int, channels: int, kernel: int = 1, stride: int = 1, **options: Any
    ) -> ConvNormAct:
        """Convolution and norm as one module; `options` are those of ConvNormAct."""
        return ConvNormAct(
            in_channels,
            channels,
            kernel,
            stride,
            norm_act=self.norm_act,
            pad_type=self.pad_type,
            aa_layer=self.aa_layer,
            **options,
        )

    def scale(self, channels: int) -> nn.Module:
        return LayerScale2d(channels, self.layer_scale) if self.layer_scale else nn.Identity()


def groups_of(channels: int, group_size: int) -> int:
    """Number of convolution groups: 1 for a group size of 0."""
    if not group_size:
        return 1
    if channels % group_size:
        raise UsageError(f"group_size {group_size} does not divide a block's {channels} channels.")
    return channels // group_size


def conv_block(style: BlockStyle, row: Conv, place: BlockPlace) -> Parts:
    """Convolution, norm, activation."""
    groups = groups_of(place.in_channels, row.group_size)
    stride = style.conv_stride(row.stride)
    return {
        "conv": style.conv(place.in_channels, row.channels, row.kernel, stride, place.first_dilation, groups),
        "bn1": style.norm_act(row.channels, act=row.act or style.act),
        "aa": style.antialias(row.channels, row.stride),
    }


def depthwise_separable(style: BlockStyle, row: DepthwiseConv, place: BlockPlace) -> Parts:
    """Depthwise convolution, attention, pointwise convolution.

    With `space_to_depth` a 2x2 convolution with stride 2 first turns the input into four times the channels, and the
    depthwise kernel shrinks to cover what it covered before.
    """
    parts: Parts = {}
    act, width, kernel, depthwise = row.act or style.act, place.in_channels, row.kernel, style
    if row.space_to_depth:
        assert isinstance(kernel, int)
        width, kernel = 4 * place.in_channels, (kernel + 1) // 2
        if kernel % 2 == 0:  # an even kernel has no symmetric padding
            depthwise = replace(style, pad_type="same")
        parts["conv_s2d"] = make_conv(place.in_channels, width, 2, stride=2, pad_type="same")
        parts["bn_s2d"] = style.norm_act(width, act=act)
    stride, groups = style.conv_stride(row.stride), groups_of(width, row.group_size)
    return {
        **parts,
        "conv_dw": depthwise.conv(width, width, kernel, stride, place.first_dilation, groups),
        "bn1": style.norm_act(width, act=act),
        "aa": style.antialias(width, row.stride),
        "se": style.attention(width, row.se, act, expand=width / place.in_channels),
        "conv_pw": style.conv(width, row.channels, 1),
        "bn2": style.norm_act(row.channels, act=act if row.project_act else "identity"),
    }


def inverted_residual(style: BlockStyle, row: MBConv, place: BlockPlace) -> Parts:
    """MBConv: pointwise expansion, depthwise convolution, attention, pointwise projection without activation.

    With `experts` the three convolutions are mixed of so many kernels, by the routing of a `CondConvResidual`.
    """
    act, width = row.act or style.act, make_divisible(place.in_channels * row.expand)
    stride, groups = style.conv_stride(row.stride), groups_of(width, row.group_size)
    conv: Callable[..., nn.Module] = style.conv
    if row.experts:
        conv = partial(CondConv2d, experts=row.experts, pad_type=style.pad_type)
    return {
        "conv_pw": conv(place.in_channels, width, row.expand_kernel),
        "bn1": style.norm_act(width, act=act),
        "conv_dw": conv(width, width, row.kernel, stride, place.first_dilation, groups),
        "bn2": style.norm_act(width, act=act),
        "aa": style.antialias(width, row.stride),
        "se": style.attention(width, row.se, act, expand=row.expand),
        "conv_pwl": conv(width, row.channels, row.project_kernel),
        "bn3": style.norm_act(row.channels, act="identity"),
    }


class CondConvResidual(ResidualBlock):
    """A block whose `CondConv2d` mix their kernels by one routing, computed from the block's input."""

    routing_fn: nn.Module

    def branch(self, x: Tensor) -> Tensor:
        routing = self.routing_fn(x.mean((2, 3))).sigmoid()
        for name in self.in_order:
            module = getattr(self, name)
            x = module(x, routing) if isinstance(module, CondConv2d) else module(x)
        return x


def edge_residual(style: BlockStyle, row: FusedMBConv, place: BlockPlace) -> Parts:
    """Fused MBConv: dense expansion, attention, pointwise projection without activation."""
    act, width = row.act or style.act, make_divisible((row.expand_from or place.in_channels) * row.expand)
    stride, groups = style.conv_stride(row.stride), groups_of(width, row.group_size)
    return {
        "conv_exp": style.conv(place.in_channels, width, row.kernel, stride, place.first_dilation, groups),
        "bn1": style.norm_act(width, act=act),
        "aa": style.antialias(width, row.stride),
        "se": style.attention(width, row.se, act, expand=row.expand),
        "conv_pwl": style.conv(width, row.channels, 1),
        "bn2": style.norm_act(row.channels, act="identity"),
    }


def universal_bottleneck(style: BlockStyle, row: UniversalBottleneck, place: BlockPlace) -> Parts:
    """Depthwise, pointwise expansion, depthwise, pointwise projection; either depthwise convolution may be missing."""
    if row.stride > 1 and not (row.start_kernel or row.kernel):
        raise UsageError("A block without a depthwise convolution has nothing to stride with.")
    act, width = row.act or style.act, make_divisible(place.in_channels * row.expand)

    def depthwise(channels: int, kernel: int, stride: int, act: str) -> nn.Module:
        if not kernel:
            return nn.Identity()
        dilation, groups = place.first_dilation, groups_of(channels, row.group_size)
        return style.conv_norm(channels, channels, kernel, stride, act=act, dilation=dilation, groups=groups)

    start_stride = 1 if row.kernel else row.stride
    return {
        "dw_start": depthwise(place.in_channels, row.start_kernel, start_stride, "identity"),
        "pw_exp": style.conv_norm(place.in_channels, width, act=act),
        "dw_mid": depthwise(width, row.kernel, row.stride, act),
        "pw_proj": style.conv_norm(width, row.channels, act="identity"),
        "layer_scale": style.scale(row.channels),
    }


def mobile_attention(style: BlockStyle, row: MobileAttention, place: BlockPlace) -> Parts:
    """Norm and multi-query attention."""
    if row.stride > 1:
        raise UsageError("A block of mobile attention has no stride.")
    attention = MultiQueryAttention2d(
        place.in_channels,
        row.channels,
        num_heads=row.num_heads,
        head_dim=row.head_dim,
        kv_stride=row.kv_stride,
        kernel=row.kernel,
        norm_act=style.norm_act,
        dilation=place.first_dilation,
        pad_type=style.pad_type,
    )
    norm = style.norm_act(place.in_channels, act="identity")
    return {"norm": norm, "attn": attention, "layer_scale": style.scale(row.channels)}


BRANCHES: dict[type[BlockRow], Callable[..., Parts]] = {
    Conv: conv_block,
    DepthwiseConv: depthwise_separable,
    MBConv: inverted_residual,
    FusedMBConv: edge_residual,
    UniversalBottleneck: universal_bottleneck,
    MobileAttention: mobile_attention,
}


def make_block(style: BlockStyle, row: BlockRow, place: BlockPlace) -> ResidualBlock:
    """The block of a row, with a residual connection where input and output have one shape.

    Its stride is the row's, and `first_dilation` the dilation of all its convolutions.
    """
    has_skip = row.skip and row.stride == 1 and place.in_channels == row.channels
    parts = {
        **BRANCHES[type(row)](style, row, place),
        "drop_path": make_drop_path(place.drop_path if has_skip else 0.0),
        "skip": nn.Identity() if has_skip else None,
    }
    if not (isinstance(row, MBConv) and row.experts):
        return ResidualBlock(parts, shortcut="skip")
    block = CondConvResidual(parts, shortcut="skip")
    block.routing_fn = nn.Linear(place.in_channels, row.experts)
    return block
