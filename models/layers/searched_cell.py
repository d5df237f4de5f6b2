"""Cells that a search found: sums of two operations each, put side by side.

Zoph et al., NASNet (arXiv:1707.07012); Liu et al., PNASNet (arXiv:1712.00559). A cell reads the outputs of the last two
layers; both are brought to its width and resolution first.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.conv_same import make_conv, pad_same
from zoo.models.layers.max_pool_same import MaxPool2dSame

make_norm = partial(nn.BatchNorm2d, eps=1e-3)

Source = Literal["before", "last"] | int
"""The output of the layer before the last, of the last, or a sum of the cell itself."""
Operation = tuple[str, Source]
"""What is done to what: `sep3` to `sep7`, `max`, `avg`, or `same`."""


class CellTable(NamedTuple):
    """The sums of a cell in order, and what is put side by side at its end."""

    sums: tuple[tuple[Operation, Operation], ...]
    outputs: tuple[Source, ...]


def act_conv_norm(in_channels: int, channels: int, stride: int = 1) -> nn.Sequential:
    conv = make_conv(in_channels, channels, 1, stride)
    return nn.Sequential(OrderedDict(act=nn.ReLU(), conv=conv, bn=make_norm(channels)))


def separable(in_channels: int, channels: int, kernel: int, stride: int) -> nn.Sequential:
    """A depthwise and a pointwise convolution."""
    depthwise = make_conv(in_channels, in_channels, kernel, stride, groups=in_channels, pad_type="same")
    pointwise = make_conv(in_channels, channels, 1)
    return nn.Sequential(OrderedDict(depthwise_conv2d=depthwise, pointwise_conv2d=pointwise))


def two_separable(in_channels: int, channels: int, kernel: int, stride: int) -> nn.Sequential:
    """Separable convolutions twice, an activation before and a norm behind each; the first one strides."""
    return nn.Sequential(
        OrderedDict(
            act_1=nn.ReLU(),  # others read the input too
            separable_1=separable(in_channels, channels, kernel, stride),
            bn_sep_1=make_norm(channels),
            act_2=nn.ReLU(inplace=True),
            separable_2=separable(channels, channels, kernel, 1),
            bn_sep_2=make_norm(channels),
        )
    )


class AveragePool3(nn.Module):
    """The average over 3x3 windows with SAME padding; the zeros at the border count where it strides."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        return F.avg_pool2d(pad_same(x, (3, 3), (self.stride,) * 2, (1, 1)), 3, self.stride)


def make_operation(kind: str, in_channels: int, channels: int, stride: int) -> nn.Module:
    """An operation by its name in tables; what changes neither width nor resolution may have no weights."""
    if kind.startswith("sep"):
        return two_separable(in_channels, channels, int(kind.removeprefix("sep")), stride)
    if kind == "avg":
        return AveragePool3(stride)
    if kind == "same":
        return nn.Identity() if stride == 1 else act_conv_norm(in_channels, channels, stride)
    pool = nn.MaxPool2d(3, stride=1, padding=1) if stride == 1 else MaxPool2dSame(3, stride)
    if in_channels == channels:
        return pool
    conv = make_conv(in_channels, channels, 1)
    return nn.Sequential(OrderedDict(max_pool=pool, conv=conv, bn=make_norm(channels)))


class Halving(nn.Module):
    """Half the resolution by two pointwise convolutions, one of the even and one of the odd rows and columns."""

    def make_halving(self, in_channels: int, channels: int) -> None:
        conv = partial(make_conv, in_channels, channels // 2, 1, stride=2)
        self.act = nn.ReLU()
        self.path_1 = nn.Sequential(OrderedDict(conv=conv()))
        self.path_2 = nn.Sequential(OrderedDict(pad=nn.ZeroPad2d((-1, 1, -1, 1)), conv=conv()))
        self.final_path_bn = make_norm(channels)

    def halve(self, x: Tensor) -> Tensor:
        x = self.act(x)
        halved: Tensor = self.final_path_bn(torch.cat([self.path_1(x), self.path_2(x)], 1))
        return halved


class FactorizedReduction(Halving):
    """`Halving` as a module of its own."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.make_halving(in_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.halve(x)


class Cell(Halving):
    """Two maps -> one, of as many times `channels` as the table has outputs.

    Args:
        table: of the cell.
        before, last: channels of the maps.
        channels: width of every sum.
        stride: of the operations that read the maps.
        halves: whether the first map has twice the resolution of the second.
        opens: the cell reads one map alone, as it is and by a convolution.
        flat: whether the layers that halve are the cell's own, or those of a module `conv_prev_1x1`.
    """

    def __init__(
        self,
        table: CellTable,
        before: int,
        last: int,
        channels: int,
        stride: int = 1,
        *,
        halves: bool = False,
        opens: bool = False,
        flat: bool = False,
    ) -> None:
        super().__init__()
        self.table = table
        # First, for features end with its activation: what is registered later is not needed then.
        self.conv_1x1 = act_conv_norm(last, channels)
        self.flat = halves and flat
        if self.flat:
            self.make_halving(before, channels)
        elif halves:
            self.conv_prev_1x1: nn.Module = FactorizedReduction(before, channels)
        else:
            self.conv_prev_1x1 = nn.Identity() if opens else act_conv_norm(before, channels)
        for index, pair in enumerate(table.sums):
            for side, (kind, source) in zip(("left", "right"), pair, strict=True):
                width = before if opens and source == "before" else channels
                operation = make_operation(kind, width, channels, 1 if isinstance(source, int) else stride)
                self.add_module(f"comb_iter_{index}_{side}", operation)

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        maps: dict[Source, Tensor] = {
            "before": self.halve(before) if self.flat else self.conv_prev_1x1(before),
            "last": self.conv_1x1(last),
        }
        for index, ((_, left), (_, right)) in enumerate(self.table.sums):
            operations = (self.get_submodule(f"comb_iter_{index}_{side}") for side in ("left", "right"))
            first, second = (run(maps[source]) for run, source in zip(operations, (left, right), strict=True))
            maps[index] = first + second
        return torch.cat([maps[source] for source in self.table.outputs], 1)
