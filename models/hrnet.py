"""HRNet: Wang et al., Deep High-Resolution Representation Learning for Visual Recognition (arXiv:1908.07919).

Branches of several resolutions run side by side and exchange their maps again and again. From the second stage on the
trunk carries a list of maps, the highest resolution first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.hrnet import HrNetSpec
from zoo.core.architectures.configs.resnet import ResNetSpec
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.init import KAIMING
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace
from zoo.models.resnet import basic_block, bottleneck

__getattr__ = family_attributes("hrnet")

Maps = list[Tensor]

PLAIN = ResNetSpec(block="basic", layers=())
STEM_WIDTH = 64
HEAD_WIDTHS = (128, 256, 512, 1024)
"""Channels of the branches in front of the classifier."""
HEAD_WIDTH = 2048


def make_bottleneck(in_channels: int, channels: int) -> ResidualBlock:
    return bottleneck(PLAIN, BlockPlace(in_channels, channels), nn.Identity())


def conv_norm(
    in_channels: int, channels: int, kernel: int, stride: int = 1, *, act: bool = True, bias: bool = False
) -> nn.Sequential:
    conv = make_conv(in_channels, channels, kernel, stride, bias=bias)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), *([nn.ReLU(inplace=True)] if act else []))


def downsampling(widths: Sequence[int], last_act: bool) -> nn.Sequential:
    """Strided convolutions from each of the widths to the next; the last may go without activation."""
    pairs = list(pairwise(widths))
    return nn.Sequential(
        *(conv_norm(*pair, 3, 2, act=last_act or index < len(pairs)) for index, pair in enumerate(pairs, start=1))
    )


def transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
    """From the widths of the branches before to those after; the last branch before is where new ones start."""
    kept = [nn.Identity() if old == new else conv_norm(old, new, 3) for old, new in zip(before, after, strict=False)]
    lowest = before[-1]
    added = [
        downsampling([*[lowest] * (steps + 1), width], last_act=True)
        for steps, width in enumerate(after[len(before) :])
    ]
    return nn.ModuleList([*kept, *added])


def exchange(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """From the resolution and width of one branch to those of another: what the target adds of the source."""
    if source == target:
        return nn.Identity()
    if source < target:
        return downsampling([*[widths[source]] * (target - source), widths[target]], last_act=False)
    layers = conv_norm(widths[source], widths[target], 1, act=False)
    return layers.append(nn.Upsample(scale_factor=2.0 ** (source - target)))


class ExchangeModule(nn.Module):
    """Blocks of each branch, then the exchange: every branch becomes the sum of what all of them give to it."""

    def __init__(self, widths: Sequence[int], depth: int) -> None:
        super().__init__()
        places = [BlockPlace(width, width) for width in widths]
        self.branches = nn.ModuleList(
            nn.Sequential(*(basic_block(PLAIN, place, nn.Identity()) for _ in range(depth))) for place in places
        )
        numbers = range(len(widths))
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(exchange(widths, source, target) for source in numbers) for target in numbers
        )
        self.fuse_act = nn.ReLU(inplace=True)

    def forward(self, maps: Maps) -> Maps:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [self.fuse_act(self._received(layers, maps)) for layers in self.fuse_layers]

    @staticmethod
    def _received(layers: nn.Module, maps: Maps) -> Tensor:
        return reduce(add, (layer(x) for layer, x in zip(layers.children(), maps, strict=True)))


class HighResolutionNet(ConvNet):
    """Stem, a stage of one branch and three of two to four, wider branches, their sum, classifier `classifier`."""

    spec: HrNetSpec
    initial_values = KAIMING
    num_features = HEAD_WIDTH

    def build(self) -> None:
        spec = self.spec
        self.conv1 = make_conv(self.in_chans, STEM_WIDTH, 3, 2)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = make_conv(STEM_WIDTH, 64, 3, 2)
        self.bn2 = nn.BatchNorm2d(64)
        self.act2 = nn.ReLU(inplace=True)
        channels = 4 * spec.first_width
        inputs = [64, *[channels] * (spec.first_depth - 1)]
        self.layer1 = nn.Sequential(*(make_bottleneck(width, channels) for width in inputs))
        widths = [channels]
        for number, modules in enumerate(spec.num_modules, start=1):
            before, widths = widths, [spec.width * 2**branch for branch in range(number + 1)]
            self.add_module(f"transition{number}", transition(before, widths))
            stage = nn.Sequential(*(ExchangeModule(widths, spec.branch_depth) for _ in range(modules)))
            self.add_module(f"stage{number + 1}", stage)
        self.incre_modules = nn.ModuleList(
            nn.Sequential(make_bottleneck(*pair)) for pair in zip(widths, HEAD_WIDTHS, strict=True)
        )
        bias = spec.head_conv_bias
        self.downsamp_modules = nn.ModuleList(conv_norm(*pair, 3, 2, bias=bias) for pair in pairwise(HEAD_WIDTHS))
        self.final_layer = conv_norm(HEAD_WIDTHS[-1], HEAD_WIDTH, 1, bias=bias)
        self.feature_info = [{"num_chs": STEM_WIDTH, "reduction": 2, "module": "act1", "name": "stem"}] + [
            {"num_chs": width, "reduction": 4 * 2**i, "module": f"incre_modules.{i}", "name": f"stage{i + 1}"}
            for i, width in enumerate(HEAD_WIDTHS)
        ]

    def zero_initialised(self, block: ResidualBlock) -> bool:  # noqa: ARG002 - none is
        return False

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "act1", lambda x: self.act1(self.bn1(self.conv1(x)))
        yield "act2", lambda x: self.act2(self.bn2(self.conv2(x)))
        yield "layer1", self.layer1
        for number in range(1, len(self.spec.num_modules) + 1):
            yield f"stage{number + 1}", self._stage(number)
        for branch in range(len(HEAD_WIDTHS)):
            yield f"incre_modules.{branch}", self._increase(branch)

    def _stage(self, number: int) -> Any:
        """A transition to one more branch and the stage behind it."""

        def run(x: Tensor | Maps) -> Maps:
            maps = x if isinstance(x, list) else [x]
            layers = self.get_submodule(f"transition{number}").children()
            stage = self.get_submodule(f"stage{number + 1}")
            result: Maps = stage([layer(maps[min(branch, len(maps) - 1)]) for branch, layer in enumerate(layers)])
            return result

        return run

    def _increase(self, branch: int) -> Any:
        return lambda maps: [*maps[:branch], self.incre_modules[branch](maps[branch]), *maps[branch + 1 :]]

    def level_state(self, x: Any, level: int) -> Tensor:
        return x[level - 1] if isinstance(x, list) else x

    def finish(self, x: Any) -> Tensor:
        """The sum of the branches at the lowest resolution."""
        total, *others = x
        for down, other in zip(self.downsamp_modules, others, strict=True):
            total = other + down(total)
        return self.final_layer(total)
