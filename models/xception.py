"""Xception: Chollet, Xception: Deep Learning with Depthwise Separable Convolutions (arXiv:1610.02357), figure 5."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.xception import XceptionSpec
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.init import KAIMING
from zoo.models.layers.split_block import SplitBlock

__getattr__ = family_attributes("xception")


class SeparableConv(nn.Sequential):
    """A depthwise 3x3, then a pointwise convolution."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, channels, 1, bias=False)


class XceptionBlock(SplitBlock):
    """Activations and separable convolutions with norms, at a stride a maximum, and a shortcut around them.

    The level inside is the output of the first activation; a block that starts without one has no level.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], stride: int, start_with_act: bool) -> None:
        super().__init__()
        self.rep = nn.Sequential()
        channels = in_channels
        for index, width in enumerate(widths):
            if index or start_with_act:
                self.rep.append(nn.ReLU(inplace=index > 0))  # the shortcut needs the input as it was
            self.rep.append(SeparableConv(channels, width))
            self.rep.append(nn.BatchNorm2d(width))
            channels = width
        if stride > 1:
            self.rep.append(nn.MaxPool2d(3, stride, padding=1))
        self.projects = stride > 1 or channels != in_channels
        if self.projects:
            self.skip = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.skipbn = nn.BatchNorm2d(channels)

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.rep[0](x), x

    def end(self, level: Tensor, shortcut: Tensor) -> Tensor:
        x = level
        for module in list(self.rep)[1:]:
            x = module(x)
        return x + (self.skipbn(self.skip(shortcut)) if self.projects else shortcut)


class Xception(ConvNet):
    """Stem, blocks, two separable convolutions, pooling, classifier `fc`."""

    spec: XceptionSpec
    initial_values = KAIMING
    num_features = 2048

    def build(self) -> None:
        self.conv1 = nn.Conv2d(self.in_chans, 32, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.act2 = nn.ReLU(inplace=True)
        self.add_level(64, 2, "act2")
        channels = self._make_blocks(self.spec)
        self.conv3 = SeparableConv(channels, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.act3 = nn.ReLU(inplace=True)
        self.conv4 = SeparableConv(1536, self.num_features)
        self.bn4 = nn.BatchNorm2d(self.num_features)
        self.act4 = nn.ReLU(inplace=True)
        self.add_level(self.num_features, 32, "act4")

    def _make_blocks(self, spec: XceptionSpec) -> int:
        """Create `block1` and so on; returns the channels of the last. A level is inside every block that strides."""
        channels, reduction = 64, 2
        for number, widths in enumerate(spec.blocks, start=1):
            stride = 2 if len(widths) == 2 else 1
            if stride > 1 and number > 1:
                self.add_level(channels, reduction, f"block{number}.rep.0")
            self.add_module(f"block{number}", XceptionBlock(channels, widths, stride, start_with_act=number > 1))
            channels, reduction = widths[-1], reduction * stride
        return channels

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "act2", self._stem
        levels = {level["module"] for level in self.feature_info}
        for number in range(1, len(self.spec.blocks) + 1):
            name = f"block{number}"
            block = getattr(self, name)
            if f"{name}.rep.0" in levels:
                start, block = block.split()
                yield f"{name}.rep.0", start
            yield name, block
        yield "act4", self._exit

    def _stem(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.conv1(x)))
        return self.act2(self.bn2(self.conv2(x)))

    def _exit(self, x: Tensor) -> Tensor:
        x = self.act3(self.bn3(self.conv3(x)))
        return self.act4(self.bn4(self.conv4(x)))
