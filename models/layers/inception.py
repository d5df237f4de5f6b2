"""Parallel branches of convolutions over one input: what Inception networks are made of.

Szegedy et al. (arXiv:1409.4842, arXiv:1512.00567, arXiv:1602.07261).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn as nn
from torch import Tensor

from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.norm_act import norm_act_factory

ConvFactory = Callable[..., ConvNormAct]
Path = Sequence[Mapping[str, nn.Module]]


class Conv(NamedTuple):
    """A convolution of a branch. One with a stride is not padded, as in all these networks."""

    channels: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padded: bool = True

    def make(self, conv: ConvFactory, in_channels: int) -> ConvNormAct:
        pad_type = "" if self.padded and self.stride == 1 else "valid"
        return conv(in_channels, self.channels, self.kernel, self.stride, pad_type=pad_type)


def conv_factory(norm_layer: str, act_layer: str, norm_eps: float) -> ConvFactory:
    """Makes a network's convolutions, each with its norm and activation."""
    return partial(ConvNormAct, norm_act=norm_act_factory(norm_layer, act_layer, norm_eps))


def chain(conv: ConvFactory, in_channels: int, *rows: Conv, pool: nn.Module | None = None) -> nn.Module:
    """The convolutions of one branch in order, after `pool` where it has one; a single module is not wrapped."""
    modules = [] if pool is None else [pool]
    for row in rows:
        modules.append(row.make(conv, in_channels))
        in_channels = row.channels
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


class Branches(nn.Module):
    """Paths over one input, their outputs side by side.

    A path is a list of stages, each a dict of modules by name, which become attributes. The modules of one stage all
    read the output of the stage before; only the last stage of a path has more than one.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self.paths = [[list(stage) for stage in path] for path in paths]
        for path in paths:
            for stage in path:
                for name, module in stage.items():
                    self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for path in self.paths:
            maps = [x]
            for stage in path:
                maps = [getattr(self, name)(maps[0]) for name in stage]
            outputs += maps
        return torch.cat(outputs, 1)


def numbered(*branches: nn.Module) -> list[Path]:
    """The paths of branches that are called `branch0`, `branch1` and so on."""
    return [[{f"branch{index}": branch}] for index, branch in enumerate(branches)]


def average_pool() -> nn.Module:
    """3x3 average that keeps the size; at the borders over fewer pixels."""
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
