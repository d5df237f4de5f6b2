"""DLA: Yu et al., Deep Layer Aggregation (arXiv:1707.06484).

Blocks are the leaves of trees. The root of a tree joins what its leaves give with what trees around it gave.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.dla import DlaSpec
from zoo.models.base import Step, in_sequence
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.init import KAIMING
from zoo.models.layers.multi_scale import multi_scale
from zoo.models.layers.pointwise_classifier import PointwiseClassifier
from zoo.models.layers.residual import ResidualBlock

__getattr__ = family_attributes("dla")

SCALES = 4


def layers(
    number: int, in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.ModuleDict:
    """A convolution with norm and activation, by their names in a block."""
    return nn.ModuleDict(
        {
            f"conv{number}": make_conv(in_channels, channels, kernel, stride, groups=groups),
            f"bn{number}": nn.BatchNorm2d(channels),
            f"act{number}": nn.ReLU(inplace=True),
        }
    )


class Leaf(ResidualBlock):
    """A residual block that may be given its shortcut by the tree; its last activation is that of the sum."""

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        act: nn.Module = getattr(self, self.behind)
        return act(self.branch(x) + (x if shortcut is None else shortcut))


class MultiScaleLeaf(Leaf):
    """Res2Net's (arXiv:1904.01169): between the 1x1 convolutions there are several, each for a group of the maps."""

    def __init__(self, in_channels: int, width: int, channels: int, stride: int, groups: int) -> None:
        super().__init__({}, act="act3")
        self.conv1 = make_conv(in_channels, SCALES * width, 1)
        self.bn1 = nn.BatchNorm2d(SCALES * width)
        self.act1 = nn.ReLU(inplace=True)
        self.convs = nn.ModuleList(make_conv(width, width, 3, stride, groups=groups) for _ in range(SCALES - 1))
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(SCALES - 1))
        self.act2 = nn.ReLU(inplace=True)
        self.adds = stride == 1
        self.pool = nn.Identity() if self.adds else nn.AvgPool2d(3, stride, padding=1)
        self.conv3 = make_conv(SCALES * width, channels, 1)
        self.bn3 = nn.BatchNorm2d(channels)
        self.act3 = nn.ReLU(inplace=True)

    def branch(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.conv1(x)))
        x = multi_scale(x, self.convs, self.bns, self.act2, self.pool, adds=self.adds)
        return self.bn3(self.conv3(x))


def make_leaf(spec: DlaSpec, in_channels: int, channels: int, stride: int) -> Leaf:
    if spec.block == "basic":
        parts = {**layers(1, in_channels, channels, 3, stride), **layers(2, channels, channels, 3)}
        return Leaf(parts, act="act2")
    width, groups = channels * spec.base_width // 64 * spec.cardinality // 2, spec.cardinality
    if spec.block == "multi_scale":
        return MultiScaleLeaf(in_channels, width, channels, stride, groups)
    first, middle = layers(1, in_channels, width, 1), layers(2, width, width, 3, stride, groups)
    return Leaf({**first, **middle, **layers(3, width, channels, 1)}, act="act3")


class Root(nn.Module):
    """Maps side by side -> one map: `act(bn(conv(...)))`, with `residual` the first map is added to the norm's."""

    def __init__(self, in_channels: int, channels: int, residual: bool) -> None:
        super().__init__()
        self.conv = make_conv(in_channels, channels, 1)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.residual = residual

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        x = self.bn(self.conv(torch.cat(list(maps), 1)))
        return self.relu(x + maps[0] if self.residual else x)


class Tree(nn.Module):
    """Two halves in a row: leaves and a root where the depth is 1, else trees (figures 2 and 3 of the paper).

    Args:
        spec: the variant.
        depth: of the tree.
        in_channels, channels: of input and output.
        stride: of the first leaf.
        joins_input: whether the root at the end reads the tree's input too.
        earlier: channels that trees around this one hand to its root.
    """

    def __init__(
        self,
        spec: DlaSpec,
        depth: int,
        in_channels: int,
        channels: int,
        stride: int = 1,
        *,
        joins_input: bool = False,
        earlier: int = 0,
    ) -> None:
        super().__init__()
        self.joins_input = joins_input
        earlier += in_channels if joins_input else 0
        self.downsample = nn.MaxPool2d(stride, stride) if stride > 1 else nn.Identity()
        self.project: nn.Module = nn.Identity()
        self.root = None
        if depth > 1:
            self.tree1: nn.Module = Tree(spec, depth - 1, in_channels, channels, stride)
            self.tree2: nn.Module = Tree(spec, depth - 1, channels, channels, earlier=earlier + channels)
            return
        if in_channels != channels:
            self.project = nn.Sequential(make_conv(in_channels, channels, 1), nn.BatchNorm2d(channels))
        self.tree1 = make_leaf(spec, in_channels, channels, stride)
        self.tree2 = make_leaf(spec, channels, channels, 1)
        self.root = Root(2 * channels + earlier, channels, spec.root_residual)

    def forward(self, x: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        if self.root is None:
            first = self.tree1(x)
            inputs = [self.downsample(x)] if self.joins_input else []
            return self.tree2(first, [*earlier, *inputs, first])
        bottom = self.downsample(x)
        first = self.tree1(x, self.project(bottom))
        inputs = [bottom] if self.joins_input else []
        return self.root([self.tree2(first), first, *earlier, *inputs])


class DLA(ConvNet):
    """Convolutions of two resolutions, trees of four, pooling, classifier `fc`, a 1x1 convolution."""

    spec: DlaSpec
    initial_values = KAIMING
    default_out_indices = 5

    def build(self) -> None:
        spec = self.spec
        in_channels, (depths, widths) = spec.channels[0], (spec.levels, spec.channels)
        self.base_layer = nn.Sequential(*layers(1, self.in_chans, in_channels, 7).values())
        for level, (depth, channels) in enumerate(zip(depths, widths, strict=True)):
            stride = 2 if level else 1
            module: nn.Module
            if level < 2:
                inputs = [(in_channels, stride), *[(channels, 1)] * (depth - 1)]
                parts = [layers(1, width, channels, 3, step).values() for width, step in inputs]
                module = nn.Sequential(*(part for trio in parts for part in trio))
            else:
                module = Tree(spec, depth, in_channels, channels, stride, joins_input=level > 2)
            self.add_module(f"level{level}", module)
            self.add_level(channels, 2**level, f"level{level}")
            in_channels = channels
        self.num_features = in_channels

    def steps(self) -> Iterator[tuple[str, Step]]:
        # As one part each: checkpointing runs the parts of a Sequential apart, and activations work in place.
        for name in ("base_layer", *(level["module"] for level in self.feature_info)):
            yield name, in_sequence([self.get_submodule(name)])

    def make_classifier(self) -> nn.Module:
        return PointwiseClassifier(self.head_hidden_size, self.num_classes) if self.num_classes else nn.Identity()

    def zero_initialised(self, block: ResidualBlock) -> bool:  # noqa: ARG002 - none is
        return False


def unused_keys(keys: Collection[str], model: DLA) -> set[str]:
    """The authors' files have a projection of the shortcut in trees of every depth; only trees of leaves use theirs."""
    wanted = model.state_dict().keys()
    return {key for key in keys if ".project." in key and key not in wanted}
