"""Aligned Xception: Xception with strides in place of pooling and deeper, as in DeepLab v3+.

Chen et al., Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation (arXiv:1802.02611),
figure 4; the variants whose name ends in p are pre-activated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.xception_aligned import XceptionAlignedSpec, XceptionRow
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.norm_act import NormActFactory, norm_act_factory
from zoo.models.layers.split_block import SplitBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("xception_aligned")


def depthwise(channels: int, stride: int, dilation: int) -> nn.Conv2d:
    return make_conv(channels, channels, 3, stride, dilation=dilation, groups=channels)


class SeparableConv(nn.Module):
    """A depthwise 3x3 and a pointwise convolution, each with a norm and the activation `act`."""

    def __init__(
        self, norm_act: NormActFactory, in_channels: int, channels: int, stride: int, dilation: int, act: str
    ) -> None:
        super().__init__()
        self.conv_dw = depthwise(in_channels, stride, dilation)
        self.bn_dw = norm_act(in_channels, act=act)
        self.conv_pw = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn_pw = norm_act(channels, act=act)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn_dw(self.conv_dw(x))
        return self.bn_pw(self.conv_pw(x))


class PreactSeparableConv(nn.Module):
    """Norm and activation (the block's own, before its first), a depthwise 3x3, a pointwise convolution."""

    def __init__(
        self, norm_act: NormActFactory, in_channels: int, channels: int, stride: int, dilation: int, is_first: bool
    ) -> None:
        super().__init__()
        self.norm = nn.Identity() if is_first else norm_act(in_channels)
        self.conv_dw = depthwise(in_channels, stride, dilation)
        self.conv_pw = nn.Conv2d(in_channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_pw(self.conv_dw(self.norm(x)))


class AlignedBlock(SplitBlock):
    """Three separable convolutions in `stack` and a shortcut around them; the level inside is the last one's input.

    Whether the shortcut projects is told by the row's own stride, so that its keys do not depend on `output_stride`.
    """

    level: ClassVar[str]

    def __init__(
        self, spec: XceptionAlignedSpec, norm_act: NormActFactory, row: XceptionRow, place: BlockPlace
    ) -> None:
        super().__init__()
        in_channels = place.in_channels
        self.act_layer, self.norm_act, self.has_shortcut = spec.act_layer, norm_act, row.has_shortcut
        self.norm = self.make_norm(in_channels)
        self.stack = nn.Sequential()
        channels = in_channels
        for number, width in enumerate(row.widths, start=1):
            self.add_conv(number, channels, width, place.stride if number == 3 else 1, place.first_dilation)
            channels = width
        self.num_before_level = len(self.stack) - 1
        if row.has_shortcut:
            projects = row.stride > 1 or channels != in_channels
            self.shortcut = self.make_projection(in_channels, channels, place.stride) if projects else nn.Identity()
            self.drop_path = make_drop_path(place.drop_path)

    def make_norm(self, channels: int) -> nn.Module:
        """What the block's input passes first."""
        raise NotImplementedError

    def add_conv(self, number: int, in_channels: int, channels: int, stride: int, dilation: int) -> None:
        """Add the separable convolution of this number to `stack`."""
        raise NotImplementedError

    def make_projection(self, in_channels: int, channels: int, stride: int) -> nn.Module:
        """A shortcut that changes channels or resolution."""
        raise NotImplementedError

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = shortcut = self.norm(x)
        for module in list(self.stack)[: self.num_before_level]:
            x = module(x)
        return x, shortcut

    def end(self, level: Tensor, shortcut: Tensor) -> Tensor:
        x = self.stack[-1](level)
        return self.drop_path(x) + self.shortcut(shortcut) if self.has_shortcut else x


class PostactBlock(AlignedBlock):
    """Activations before the convolutions and norms after; in the last block, without shortcut, both come after."""

    level = "act3"

    def make_norm(self, channels: int) -> nn.Module:  # noqa: ARG002 - as PreactBlock's
        return nn.Identity()

    def add_conv(self, number: int, in_channels: int, channels: int, stride: int, dilation: int) -> None:
        if self.has_shortcut:
            # The shortcut needs the input as it was.
            self.stack.add_module(f"act{number}", make_activation(self.act_layer, inplace=number > 1))
        act = "identity" if self.has_shortcut else self.act_layer
        conv = SeparableConv(self.norm_act, in_channels, channels, stride, dilation, act)
        self.stack.add_module(f"conv{number}", conv)

    def make_projection(self, in_channels: int, channels: int, stride: int) -> nn.Module:
        return ConvNormAct(in_channels, channels, 1, stride, norm_act=self.norm_act, act="identity")


class PreactBlock(AlignedBlock):
    """Norm and activation before everything, the shortcut included."""

    level = "conv2"

    def make_norm(self, channels: int) -> nn.Module:
        return self.norm_act(channels)

    def add_conv(self, number: int, in_channels: int, channels: int, stride: int, dilation: int) -> None:
        conv = PreactSeparableConv(self.norm_act, in_channels, channels, stride, dilation, is_first=number == 1)
        self.stack.add_module(f"conv{number}", conv)

    def make_projection(self, in_channels: int, channels: int, stride: int) -> nn.Module:
        return nn.Conv2d(in_channels, channels, 1, stride, bias=False)


class XceptionAligned(ConvNet):
    """Stem, blocks of the entry, middle and exit flow, pooling, classifier `head.fc`."""

    spec: XceptionAlignedSpec

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        norm_act = norm_act_factory(spec.norm_layer, spec.act_layer, spec.norm_eps)
        self.stem = nn.Sequential(
            ConvNormAct(self.in_chans, 32, 3, 2, norm_act=norm_act),
            make_conv(32, 64, 3) if spec.preact else ConvNormAct(32, 64, 3, norm_act=norm_act),
        )
        make_block = PreactBlock if spec.preact else PostactBlock
        rows = spec.blocks()
        # Each block is a stage of its own; a level is inside every one that halves the resolution at stride 32.
        walk = walk_stages(
            [row.widths[-1:] for row in rows],
            64,
            2,
            strides=[row.stride for row in rows],
            output_stride=output_stride,
            drop_path=drop_path_rate,
        )
        self.blocks = nn.Sequential()
        for row, (place,) in zip(rows, walk, strict=True):
            if row.stride > 1:
                level = f"blocks.{place.stage}.stack.{make_block.level}"
                self.add_level(row.widths[1], place.reduction // place.stride, level)
            self.blocks.append(make_block(spec, norm_act, row, place))
        self.feature_info.append(place.level(f"blocks.{place.stage}"))
        self.num_features = place.channels
        self.act = make_activation(spec.act_layer, inplace=False) if spec.preact else nn.Identity()

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "stem", self.stem
        for index, (row, block) in enumerate(zip(self.spec.blocks(), self.blocks, strict=False)):
            assert isinstance(block, AlignedBlock)
            step: Step = block
            if row.stride > 1:
                start, step = block.split()
                yield f"blocks.{index}.stack.{block.level}", start
            yield f"blocks.{index}", step

    def finish(self, x: Tensor) -> Tensor:
        return self.act(x)
