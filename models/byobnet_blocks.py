"""The residual blocks that rows of a byobnet's table stand for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch.nn as nn

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.byobnet import Blocks, ByobNetSpec
from zoo.core.errors import UsageError
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import make_attention
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.mbconv import groups_of
from zoo.models.layers.multi_branch import MobileOneBlock, RepVggBlock
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.pool import shortcut_pool
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace

Parts = dict[str, nn.Module]


class BlockStyle:
    """What all blocks of a network share."""

    def __init__(self, spec: ByobNetSpec) -> None:
        self.spec = spec
        self.norm_act = norm_act_factory(spec.norm_layer, spec.act_layer, spec.norm_eps, spec.norm_group_size)
        self.conv = partial(ConvNormAct, norm_act=self.norm_act, aa_layer=spec.aa_layer)

    def attention(self, row: Blocks, channels: int) -> nn.Module:
        kind = self.spec.attn_layer if row.attention else ""
        return make_attention(kind, channels, ratio=self.spec.se_ratio, divisor=self.spec.se_divisor)

    def shortcut(self, place: BlockPlace) -> nn.Module | None:
        """The identity, or a projection; None where a block goes without a shortcut."""
        if place.keeps_shape:
            return nn.Identity()
        if not self.spec.downsample:
            return None
        project = partial(self.conv, place.in_channels, place.channels, act="identity")
        if self.spec.downsample == "avg":
            pool = shortcut_pool(place.stride, place.first_dilation)
            return nn.Sequential(OrderedDict(pool=pool, conv=project()))
        return project(1, place.stride, dilation=place.first_dilation)


def basic(style: BlockStyle, row: Blocks, place: BlockPlace) -> Parts:
    """Two 3x3 convolutions, the second grouped; attention after both."""
    width = make_divisible(place.channels * row.ratio)
    groups = groups_of(width, row.group_size)
    return {
        "conv1_kxk": style.conv(place.in_channels, width, row.kernel, place.stride, dilation=place.first_dilation),
        "conv2_kxk": style.conv(
            width, place.channels, row.kernel, dilation=place.dilation, groups=groups, act="identity"
        ),
        "attn_last": style.attention(row, place.channels),
    }


def bottle(style: BlockStyle, row: Blocks, place: BlockPlace) -> Parts:
    """1x1, grouped 3x3 with the stride (and another without), attention, 1x1."""
    width = make_divisible((place.in_channels if style.spec.bottle_in else place.channels) * row.ratio)
    conv = partial(style.conv, width, width, row.kernel, groups=groups_of(width, row.group_size))
    return {
        "conv1_1x1": style.conv(place.in_channels, width),
        "conv2_kxk": conv(place.stride, dilation=place.first_dilation),
        "conv2b_kxk": conv(dilation=place.dilation) if row.extra_conv else nn.Identity(),
        "attn": style.attention(row, width),
        "conv3_1x1": style.conv(width, place.channels, act="identity"),
    }


def dark(style: BlockStyle, row: Blocks, place: BlockPlace) -> Parts:
    """DarkNet's: 1x1, then grouped 3x3 with the stride; attention after both."""
    width = make_divisible(place.channels * row.ratio)
    conv = partial(style.conv, groups=groups_of(width, row.group_size), act="identity")
    return {
        "conv1_1x1": style.conv(place.in_channels, width),
        "conv2_kxk": conv(width, place.channels, row.kernel, place.stride, dilation=place.first_dilation),
        "attn_last": style.attention(row, place.channels),
    }


def edge(style: BlockStyle, row: Blocks, place: BlockPlace) -> Parts:
    """Grouped 3x3 with the stride, attention, 1x1."""
    width = make_divisible(place.channels * row.ratio)
    conv = partial(style.conv, groups=groups_of(width, row.group_size))
    return {
        "conv1_kxk": conv(place.in_channels, width, row.kernel, place.stride, dilation=place.first_dilation),
        "attn": style.attention(row, width),
        "conv2_1x1": style.conv(width, place.channels, act="identity"),
    }


BRANCHES: dict[str, Callable[[BlockStyle, Blocks, BlockPlace], Parts]] = {
    "basic": basic,
    "bottle": bottle,
    "dark": dark,
    "edge": edge,
}
MULTI_BRANCH = {"rep": RepVggBlock, "one": MobileOneBlock}


def make_block(style: BlockStyle, row: Blocks, place: BlockPlace) -> nn.Module:
    """The block of a row; its stride is the place's."""
    spec = style.spec
    if row.kind in MULTI_BRANCH:
        return MULTI_BRANCH[row.kind](
            place,
            row.kernel,
            groups_of(place.in_channels, row.group_size),
            row.branches,
            norm_act=style.norm_act,
            act=spec.act_layer,
            attn=style.attention(row, place.channels),
        )
    if row.kind not in BRANCHES:
        raise UsageError(f"A block must be one of {', '.join([*BRANCHES, *MULTI_BRANCH])}, found {row.kind!r}.")
    return make_residual(style, place, BRANCHES[row.kind](style, row, place))


def make_residual(style: BlockStyle, place: BlockPlace, branch: Parts) -> ResidualBlock:
    """The branch with the network's shortcut, drop path and activation."""
    last_conv = [name for name, part in branch.items() if isinstance(part, ConvNormAct)][-1]
    parts = {
        "shortcut": style.shortcut(place),
        **branch,
        "drop_path": make_drop_path(place.drop_path),
        "act": make_activation("identity" if style.spec.linear_out else style.spec.act_layer),
    }
    return ResidualBlock(parts, shortcut="shortcut", last_norm=f"{last_conv}.bn")
