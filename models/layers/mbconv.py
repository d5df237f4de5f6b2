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
from zoo.models.layers.norm_act import NormActFactory
from zoo.models.layers.pool import antialias_pool


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


class Block(nn.Module):
    """What the blocks share: a residual connection where input and output have one shape."""

    has_skip: bool
    drop_path: nn.Module

    def close(self, row: BlockRow, in_channels: int, drop_path: float) -> None:
        self.out_channels = row.channels
        self.has_skip = row.skip and row.stride == 1 and in_channels == row.channels
        self.drop_path = make_drop_path(drop_path)

    def branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.drop_path(self.branch(x)) + x if self.has_skip else self.branch(x)


class ConvBlock(Block):
    """Convolution, norm, activation."""

    def __init__(self, style: BlockStyle, row: Conv, in_channels: int, *, dilation: int, drop_path: float) -> None:
        super().__init__()
        stride, groups = style.conv_stride(row.stride), groups_of(in_channels, row.group_size)
        self.conv = style.conv(in_channels, row.channels, row.kernel, stride, dilation, groups)
        self.bn1 = style.norm_act(row.channels, act=row.act or style.act)
        self.aa = style.antialias(row.channels, row.stride)
        self.close(row, in_channels, drop_path)

    def branch(self, x: Tensor) -> Tensor:
        return self.aa(self.bn1(self.conv(x)))


class DepthwiseSeparableConv(Block):
    """Depthwise convolution, attention, pointwise convolution.

    With `space_to_depth` a 2x2 convolution with stride 2 first turns the input into four times the channels, and the
    depthwise kernel shrinks to cover what it covered before.
    """

    def __init__(
        self, style: BlockStyle, row: DepthwiseConv, in_channels: int, *, dilation: int, drop_path: float
    ) -> None:
        super().__init__()
        act, width, kernel, depthwise = row.act or style.act, in_channels, row.kernel, style
        if row.space_to_depth:
            assert isinstance(kernel, int)
            width, kernel = 4 * in_channels, (kernel + 1) // 2
            if kernel % 2 == 0:  # an even kernel has no symmetric padding
                depthwise = replace(style, pad_type="same")
            self.conv_s2d = make_conv(in_channels, width, 2, stride=2, pad_type="same")
            self.bn_s2d = style.norm_act(width, act=act)
        self.space_to_depth = row.space_to_depth
        stride, groups = style.conv_stride(row.stride), groups_of(width, row.group_size)
        self.conv_dw = depthwise.conv(width, width, kernel, stride, dilation, groups)
        self.bn1 = style.norm_act(width, act=act)
        self.aa = style.antialias(width, row.stride)
        self.se = style.attention(width, row.se, act, expand=width / in_channels)
        self.conv_pw = style.conv(width, row.channels, 1)
        self.bn2 = style.norm_act(row.channels, act=act if row.project_act else "identity")
        self.close(row, in_channels, drop_path)

    def branch(self, x: Tensor) -> Tensor:
        if self.space_to_depth:
            x = self.bn_s2d(self.conv_s2d(x))
        x = self.se(self.aa(self.bn1(self.conv_dw(x))))
        return self.bn2(self.conv_pw(x))


class InvertedResidual(Block):
    """MBConv: pointwise expansion, depthwise convolution, attention, pointwise projection without activation."""

    def __init__(self, style: BlockStyle, row: MBConv, in_channels: int, *, dilation: int, drop_path: float) -> None:
        super().__init__()
        act, width = row.act or style.act, make_divisible(in_channels * row.expand)
        conv = self.conv_factory(style, row)
        self.conv_pw = conv(in_channels, width, row.expand_kernel)
        self.bn1 = style.norm_act(width, act=act)
        stride, groups = style.conv_stride(row.stride), groups_of(width, row.group_size)
        self.conv_dw = conv(width, width, row.kernel, stride, dilation, groups)
        self.bn2 = style.norm_act(width, act=act)
        self.aa = style.antialias(width, row.stride)
        self.se = style.attention(width, row.se, act, expand=row.expand)
        self.conv_pwl = conv(width, row.channels, row.project_kernel)
        self.bn3 = style.norm_act(row.channels, act="identity")
        self.close(row, in_channels, drop_path)

    def conv_factory(self, style: BlockStyle, row: MBConv) -> Callable[..., nn.Module]:  # noqa: ARG002 - CondConv's
        """Makes a convolution from its channels, kernel, stride, dilation and groups."""
        return style.conv

    def branch(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv_pw(x))
        x = self.se(self.aa(self.bn2(self.conv_dw(x))))
        return self.bn3(self.conv_pwl(x))


class CondConvResidual(InvertedResidual):
    """MBConv whose three convolutions mix their kernels by one routing, computed from the block's input."""

    def __init__(self, style: BlockStyle, row: MBConv, in_channels: int, *, dilation: int, drop_path: float) -> None:
        super().__init__(style, row, in_channels, dilation=dilation, drop_path=drop_path)
        self.routing_fn = nn.Linear(in_channels, row.experts)

    def conv_factory(self, style: BlockStyle, row: MBConv) -> Callable[..., nn.Module]:
        return partial(CondConv2d, experts=row.experts, pad_type=style.pad_type)

    def branch(self, x: Tensor) -> Tensor:
        routing = self.routing_fn(x.mean((2, 3))).sigmoid()
        x = self.bn1(self.conv_pw(x, routing))
        x = self.se(self.aa(self.bn2(self.conv_dw(x, routing))))
        return self.bn3(self.conv_pwl(x, routing))


class EdgeResidual(Block):
    """Fused MBConv: dense expansion, attention, pointwise projection without activation."""

    def __init__(
        self, style: BlockStyle, row: FusedMBConv, in_channels: int, *, dilation: int, drop_path: float
    ) -> None:
        super().__init__()
        act, width = row.act or style.act, make_divisible((row.expand_from or in_channels) * row.expand)
        stride, groups = style.conv_stride(row.stride), groups_of(width, row.group_size)
        self.conv_exp = style.conv(in_channels, width, row.kernel, stride, dilation, groups)
        self.bn1 = style.norm_act(width, act=act)
        self.aa = style.antialias(width, row.stride)
        self.se = style.attention(width, row.se, act, expand=row.expand)
        self.conv_pwl = style.conv(width, row.channels, 1)
        self.bn2 = style.norm_act(row.channels, act="identity")
        self.close(row, in_channels, drop_path)

    def branch(self, x: Tensor) -> Tensor:
        x = self.se(self.aa(self.bn1(self.conv_exp(x))))
        return self.bn2(self.conv_pwl(x))


class UniversalInvertedBottleneck(Block):
    """Depthwise, pointwise expansion, depthwise, pointwise projection; either depthwise convolution may be missing."""

    def __init__(
        self, style: BlockStyle, row: UniversalBottleneck, in_channels: int, *, dilation: int, drop_path: float
    ) -> None:
        super().__init__()
        if row.stride > 1 and not (row.start_kernel or row.kernel):
            raise UsageError("A block without a depthwise convolution has nothing to stride with.")
        act, width = row.act or style.act, make_divisible(in_channels * row.expand)

        def depthwise(channels: int, kernel: int, stride: int, act: str) -> nn.Module:
            if not kernel:
                return nn.Identity()
            groups = groups_of(channels, row.group_size)
            return style.conv_norm(channels, channels, kernel, stride, act=act, dilation=dilation, groups=groups)

        self.dw_start = depthwise(in_channels, row.start_kernel, 1 if row.kernel else row.stride, "identity")
        self.pw_exp = style.conv_norm(in_channels, width, act=act)
        self.dw_mid = depthwise(width, row.kernel, row.stride, act)
        self.pw_proj = style.conv_norm(width, row.channels, act="identity")
        self.layer_scale = style.scale(row.channels)
        self.close(row, in_channels, drop_path)

    def branch(self, x: Tensor) -> Tensor:
        x = self.dw_mid(self.pw_exp(self.dw_start(x)))
        return self.layer_scale(self.pw_proj(x))


class MobileAttentionBlock(Block):
    """Norm and multi-query attention."""

    def __init__(
        self, style: BlockStyle, row: MobileAttention, in_channels: int, *, dilation: int, drop_path: float
    ) -> None:
        super().__init__()
        if row.stride > 1:
            raise UsageError("A block of mobile attention has no stride.")
        self.norm = style.norm_act(in_channels, act="identity")
        self.attn = MultiQueryAttention2d(
            in_channels,
            row.channels,
            num_heads=row.num_heads,
            head_dim=row.head_dim,
            kv_stride=row.kv_stride,
            kernel=row.kernel,
            norm_act=style.norm_act,
            dilation=dilation,
            pad_type=style.pad_type,
        )
        self.layer_scale = style.scale(row.channels)
        self.close(row, in_channels, drop_path)

    def branch(self, x: Tensor) -> Tensor:
        return self.layer_scale(self.attn(self.norm(x)))


BLOCKS: dict[type[BlockRow], Callable[..., Block]] = {
    Conv: ConvBlock,
    DepthwiseConv: DepthwiseSeparableConv,
    MBConv: InvertedResidual,
    FusedMBConv: EdgeResidual,
    UniversalBottleneck: UniversalInvertedBottleneck,
    MobileAttention: MobileAttentionBlock,
}


def make_block(style: BlockStyle, row: BlockRow, in_channels: int, *, dilation: int, drop_path: float) -> Block:
    """The block of a row; its stride is the row's."""
    block: Callable[..., Block] = BLOCKS[type(row)]
    if isinstance(row, MBConv) and row.experts:
        block = CondConvResidual
    return block(style, row, in_channels, dilation=dilation, drop_path=drop_path)
