"""SelecSLS: the network of XNect, Mehta et al., Real-time Multi-Person 3D Motion Capture (arXiv:1907.00837)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.selecsls import SelecSlsSpec
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.init import KAIMING
from zoo.models.layers.norm import norm_factory

__getattr__ = family_attributes("selecsls")


def conv_norm_act(in_channels: int, channels: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    conv = make_conv(in_channels, channels, kernel, stride)
    return nn.Sequential(conv, norm_factory("batchnorm")(channels), make_activation("relu"))


class SelecSlsBlock(nn.Module):
    """Three 3x3 convolutions in a row whose maps a 1x1 convolution puts together.

    A block that does not open its stage adds to them `skip_channels` maps: the output of the block that does.
    """

    def __init__(self, in_channels: int, width: int, channels: int, stride: int, skip_channels: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = conv_norm_act(in_channels, width, 3, stride)
        self.conv2 = conv_norm_act(width, width)
        self.conv3 = conv_norm_act(width, half, 3)
        self.conv4 = conv_norm_act(half, width)
        self.conv5 = conv_norm_act(width, half, 3)
        self.conv6 = conv_norm_act(2 * width + skip_channels, channels)

    def forward(self, x: Tensor, *skip: Tensor) -> Tensor:
        first = self.conv1(x)
        second = self.conv3(self.conv2(first))
        third = self.conv5(self.conv4(second))
        return self.conv6(torch.cat([first, second, third, *skip], 1))


def in_stage(opening: nn.Module, *others: nn.Module) -> Step:
    """The blocks of a stage one after the other, each with what the opening one gave."""

    def run(x: Tensor) -> Tensor:
        x = skip = opening(x)
        for block in others:
            x = block(x, skip)
        return x

    return run


class SelecSls(ConvNet):
    """Stem, stages in `features`, four convolutions `head` to a 64th of the resolution, pooling, classifier `fc`."""

    spec: SelecSlsSpec
    initial_values = KAIMING
    default_out_indices: Sequence[int] = (0, 1, 2, 3, 4)

    def build(self) -> None:
        channels, reduction = 32, 2
        self.stem = conv_norm_act(self.in_chans, channels, 3, 2)
        self.add_level(channels, reduction, "stem.2")
        self.features = nn.Sequential()
        for stage in self.spec.stages:
            outputs = [stage.width] * (stage.depth - 1) + [stage.channels]
            for position, output in enumerate(outputs):
                stride, skip_channels = (1, stage.width) if position else (2, 0)
                self.features.append(SelecSlsBlock(channels, stage.width, output, stride, skip_channels))
                channels = output
            reduction *= 2
            self.add_level(channels, reduction, f"features.{len(self.features) - 1}")
        self.head = nn.Sequential()
        kernels, strides = (3, 3, 3, self.spec.last_kernel), (2, 1, 2, 1)
        for output, kernel, stride in zip(self.spec.head, kernels, strides, strict=True):
            self.head.append(conv_norm_act(channels, output, kernel, stride))
            channels = output
            reduction *= stride
            if stride == 1:
                self.add_level(channels, reduction, f"head.{len(self.head) - 1}")
        self.num_features = channels

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield from self.steps_by_level("stem")
        start = 0
        for stage in self.spec.stages:
            end = start + stage.depth
            yield f"features.{end - 1}", in_stage(*list(self.features)[start:end])
            start = end
        yield from self.steps_by_level("head")
