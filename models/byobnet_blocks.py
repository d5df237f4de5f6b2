"""The residual blocks that rows of a byobnet's table stand for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.byobnet import Blocks, ByobNetSpec
from zoo.core.errors import UsageError
from zoo.models.layers.activation import make_activation
from zoo.models.layers.bilinear_attention import BilinearAttention
from zoo.models.layers.channel_attention import EfficientChannelAttention, GlobalContext, SqueezeExcite
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.mbconv import groups_of
from zoo.models.layers.multi_branch import MobileOneBlock, RepVggBlock
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.pool import shortcut_pool


@dataclass(frozen=True)
class BlockPlace:
    """Where in the network a block stands.

    `first_dilation` is the dilation of its strided convolution: that of the stage before, where `output_stride` turned
    a stride into dilation. `drop_path` is the rate of stochastic depth.
    """

    in_channels: int
    channels: int
    stride: int
    first_dilation: int
    dilation: int
    drop_path: float

    @property
    def keeps_shape(self) -> bool:
        return self.in_channels == self.channels and self.stride == 1 and self.first_dilation == self.dilation


class BlockStyle:
    """What all blocks of a network share."""

    def __init__(self, spec: ByobNetSpec) -> None:
        self.spec = spec
        self.norm_act = norm_act_factory(spec.norm_layer, spec.act_layer, spec.norm_eps, spec.norm_group_size)

    def conv(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        act: str | None = None,
        antialias: bool = True,
    ) -> ConvNormAct:
        """Convolution, norm and activation (`act` "identity" for none)."""
        return ConvNormAct(
            in_channels,
            channels,
            kernel,
            stride,
            norm_act=self.norm_act,
            act=act,
            dilation=dilation,
            groups=groups,
            aa_layer=self.spec.aa_layer if antialias else "",
        )

    def attention(self, row: Blocks, channels: int) -> nn.Module:
        kind = self.spec.attn_layer if row.attention else ""
        if kind == "se":
            hidden = make_divisible(channels * self.spec.se_ratio, self.spec.se_divisor, round_limit=0.0)
            return SqueezeExcite(channels, hidden=hidden)
        if kind == "gca":
            return GlobalContext(channels, make_divisible(channels / 8, 1, round_limit=0.0), "relu", fuse="add")
        if kind == "eca":
            return EfficientChannelAttention(channels)
        return BilinearAttention(channels) if kind == "bat" else nn.Identity()

    def shortcut(self, place: BlockPlace) -> nn.Module | None:
        """The identity, or a projection; None where a block goes without a shortcut."""
        if place.keeps_shape:
            return nn.Identity()
        if not self.spec.downsample:
            return None
        if self.spec.downsample == "avg":
            pool = shortcut_pool(place.stride, place.first_dilation)
            conv = self.conv(place.in_channels, place.channels, act="identity")
            return nn.Sequential(OrderedDict(pool=pool, conv=conv))
        return self.conv(
            place.in_channels, place.channels, 1, place.stride, dilation=place.first_dilation, act="identity"
        )


class ResidualBlock(nn.Module):
    """`act(branch(x) + shortcut(x))`; the activation is left out with the spec's `linear_out`."""

    last_conv: ClassVar[str]

    def __init__(self, style: BlockStyle, row: Blocks, place: BlockPlace) -> None:
        super().__init__()
        self.shortcut = style.shortcut(place)
        self.make_branch(style, row, place)
        self.drop_path = make_drop_path(place.drop_path)
        self.act = make_activation("identity" if style.spec.linear_out else style.spec.act_layer)

    def make_branch(self, style: BlockStyle, row: Blocks, place: BlockPlace) -> None:
        raise NotImplementedError

    def branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        branch = self.drop_path(self.branch(x))
        if self.shortcut is not None:
            branch = branch + self.shortcut(x)
        return self.act(branch)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions, the second grouped; attention after both."""

    last_conv = "conv2_kxk"

    def make_branch(self, style: BlockStyle, row: Blocks, place: BlockPlace) -> None:
        width = make_divisible(place.channels * row.ratio)
        groups = groups_of(width, row.group_size)
        self.conv1_kxk = style.conv(place.in_channels, width, row.kernel, place.stride, dilation=place.first_dilation)
        self.conv2_kxk = style.conv(
            width, place.channels, row.kernel, dilation=place.dilation, groups=groups, act="identity"
        )
        self.attn_last = style.attention(row, place.channels)

    def branch(self, x: Tensor) -> Tensor:
        return self.attn_last(self.conv2_kxk(self.conv1_kxk(x)))


class BottleneckBlock(ResidualBlock):
    """1x1, grouped 3x3 with the stride (and another without), attention, 1x1."""

    last_conv = "conv3_1x1"

    def make_branch(self, style: BlockStyle, row: Blocks, place: BlockPlace) -> None:
        from_channels = place.in_channels if style.spec.bottle_in else place.channels
        width = make_divisible(from_channels * row.ratio)
        groups = groups_of(width, row.group_size)
        self.conv1_1x1 = style.conv(place.in_channels, width)
        self.conv2_kxk = style.conv(
            width, width, row.kernel, place.stride, dilation=place.first_dilation, groups=groups
        )
        self.conv2b_kxk: nn.Module = nn.Identity()
        if row.extra_conv:
            self.conv2b_kxk = style.conv(width, width, row.kernel, dilation=place.dilation, groups=groups)
        self.attn = style.attention(row, width)
        self.conv3_1x1 = style.conv(width, place.channels, act="identity")

    def branch(self, x: Tensor) -> Tensor:
        x = self.conv2b_kxk(self.conv2_kxk(self.conv1_1x1(x)))
        return self.conv3_1x1(self.attn(x))


class DarkBlock(ResidualBlock):
    """DarkNet's: 1x1, then grouped 3x3 with the stride; attention after both."""

    last_conv = "conv2_kxk"

    def make_branch(self, style: BlockStyle, row: Blocks, place: BlockPlace) -> None:
        width = make_divisible(place.channels * row.ratio)
        self.conv1_1x1 = style.conv(place.in_channels, width)
        self.conv2_kxk = style.conv(
            width,
            place.channels,
            row.kernel,
            place.stride,
            dilation=place.first_dilation,
            groups=groups_of(width, row.group_size),
            act="identity",
        )
        self.attn_last = style.attention(row, place.channels)

    def branch(self, x: Tensor) -> Tensor:
        return self.attn_last(self.conv2_kxk(self.conv1_1x1(x)))


class EdgeBlock(ResidualBlock):
    """Grouped 3x3 with the stride, attention, 1x1."""

    last_conv = "conv2_1x1"

    def make_branch(self, style: BlockStyle, row: Blocks, place: BlockPlace) -> None:
        width = make_divisible(place.channels * row.ratio)
        groups = groups_of(width, row.group_size)
        self.conv1_kxk = style.conv(
            place.in_channels, width, row.kernel, place.stride, dilation=place.first_dilation, groups=groups
        )
        self.attn = style.attention(row, width)
        self.conv2_1x1 = style.conv(width, place.channels, act="identity")

    def branch(self, x: Tensor) -> Tensor:
        return self.conv2_1x1(self.attn(self.conv1_kxk(x)))


def rep_vgg_block(style: BlockStyle, row: Blocks, place: BlockPlace) -> RepVggBlock:
    return RepVggBlock(
        place.in_channels,
        place.channels,
        row.kernel,
        place.stride,
        dilation=place.first_dilation,
        groups=groups_of(place.in_channels, row.group_size),
        keeps_shape=place.keeps_shape,
        norm_act=style.norm_act,
        act=style.spec.act_layer,
        attn=style.attention(row, place.channels),
        drop_path=place.drop_path,
    )


def mobile_one_block(style: BlockStyle, row: Blocks, place: BlockPlace) -> MobileOneBlock:
    return MobileOneBlock(
        place.in_channels,
        place.channels,
        row.kernel,
        place.stride,
        groups=groups_of(place.in_channels, row.group_size),
        branches=row.branches,
        keeps_shape=place.keeps_shape,
        norm_act=style.norm_act,
        act=style.spec.act_layer,
        attn=style.attention(row, place.channels),
        drop_path=place.drop_path,
    )


BLOCKS: dict[str, Callable[[BlockStyle, Blocks, BlockPlace], nn.Module]] = {
    "basic": BasicBlock,
    "bottle": BottleneckBlock,
    "dark": DarkBlock,
    "edge": EdgeBlock,
    "rep": rep_vgg_block,
    "one": mobile_one_block,
}


def make_block(style: BlockStyle, row: Blocks, place: BlockPlace) -> nn.Module:
    """The block of a row; its stride is the place's."""
    if row.kind not in BLOCKS:
        raise UsageError(f"A block must be one of {', '.join(BLOCKS)}, found {row.kind!r}.")
    return BLOCKS[row.kind](style, row, place)
