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

from zoo.models.layers.conv_norm_act import ConvFactory, ConvNormAct

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


POOLS: dict[str, Callable[[], nn.Module]] = {
    # The average keeps the size; at the borders it is over fewer pixels.
    "avg": partial(nn.AvgPool2d, 3, stride=1, padding=1, count_include_pad=False),
    "max": partial(nn.MaxPool2d, 3, stride=2),
}
Branch = Sequence[Conv | str]
"""Convolutions and poolings (names of POOLS) in order."""


def chain(conv: ConvFactory, in_channels: int, branch: Branch) -> nn.Module:
    """The layers of one branch; a single one is not wrapped."""
    modules: list[nn.Module] = []
    for layer in branch:
        if isinstance(layer, str):
            modules.append(POOLS[layer]())
        else:
            modules.append(layer.make(conv, in_channels))
            in_channels = layer.channels
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


def numbered(conv: ConvFactory, in_channels: int, branches: Sequence[Branch]) -> list[Path]:
    """The paths of branches that are called `branch0`, `branch1` and so on."""
    return [[{f"branch{index}": chain(conv, in_channels, branch)}] for index, branch in enumerate(branches)]
