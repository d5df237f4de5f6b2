"""ResNet and its relatives: ResNeXt, SE-ResNet, SENet, ECA-ResNet, ResNet-C/D/S/T, ResNet-RS, anti-aliased ResNet.

He et al. (arXiv:1512.03385); Xie et al., ResNeXt (arXiv:1611.05431); Hu et al., SENet (arXiv:1709.01507); He et al.,
Bag of Tricks: the C and D stems and shortcuts (arXiv:1812.01187); Bello et al., ResNet-RS (arXiv:2103.07579).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch.nn as nn

from zoo.core.architectures.configs.resnet import ResNetSpec
from zoo.core.errors import UsageError
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import make_attention
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import DropBlock2d, make_drop_path
from zoo.models.layers.init import KAIMING
from zoo.models.layers.norm import NormFactory, norm_factory
from zoo.models.layers.pool import BlurPool2d, antialias_pool, shortcut_pool
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("resnet")


def antialias(spec: ResNetSpec, place: BlockPlace, channels: int) -> tuple[int, nn.Module]:
    """The stride of a block's strided convolution, and the pooling after it that may take it over."""
    if spec.aa_layer and (place.stride == 2 or place.first_dilation != place.dilation):
        return 1, antialias_pool(spec.aa_layer, channels, place.stride)
    return place.stride, nn.Identity()


def make_drop_block(stage: int, rate: float) -> nn.Module:
    """DropBlock of the last two stages."""
    if not rate or stage < 2:
        return nn.Identity()
    return DropBlock2d(rate, 5, gamma_scale=0.25) if stage == 2 else DropBlock2d(rate, 3)


def make_downsample(spec: ResNetSpec, place: BlockPlace) -> nn.Module:
    """The projection of a shortcut: a strided convolution, or (D) a 2x2 average and a 1x1 convolution."""
    if place.keeps_shape:
        return nn.Identity()
    in_channels, channels, norm = place.in_channels, place.channels, norm_factory(spec.norm_layer)
    if spec.avg_down:
        pool = shortcut_pool(place.stride, place.dilation)
        return nn.Sequential(pool, make_conv(in_channels, channels, 1), norm(channels))
    kernel = 1 if place.stride == 1 and place.dilation == 1 else spec.down_kernel_size
    spread = place.first_dilation if kernel > 1 else 1
    return nn.Sequential(make_conv(in_channels, channels, kernel, place.stride, dilation=spread), norm(channels))


def shortcut_parts(
    spec: ResNetSpec, place: BlockPlace, attention: str = "se", divisor: int = 8
) -> dict[str, nn.Module]:
    """What follows the convolutions of a block: `attention` of this name, its hidden width a multiple of `divisor`."""
    return {
        attention: make_attention(spec.attn_layer, place.channels, ratio=spec.se_ratio, divisor=divisor),
        "downsample": make_downsample(spec, place),
        "drop_path": make_drop_path(place.drop_path),
    }


def basic_width(spec: ResNetSpec, place: BlockPlace) -> int:
    """Channels between the convolutions of a basic block. Raises UsageError for a spec that needs bottlenecks."""
    if spec.cardinality != 1 or spec.base_width != 64:
        raise UsageError("A basic block has neither groups nor a base width: use bottleneck blocks for these.")
    return place.channels // spec.block_reduce_first


def bottleneck_width(spec: ResNetSpec, place: BlockPlace) -> int:
    """Channels of the 3x3 convolution of a bottleneck."""
    return place.channels // 4 * spec.base_width // 64 * spec.cardinality


def basic_parts(spec: ResNetSpec, place: BlockPlace, drop_block: nn.Module) -> dict[str, nn.Module]:
    """Two 3x3 convolutions and the last activation, `act2`."""
    norm, act = norm_factory(spec.norm_layer), partial(make_activation, spec.act_layer)
    hidden = basic_width(spec, place)
    stride, pool = antialias(spec, place, hidden)
    return {
        "conv1": make_conv(place.in_channels, hidden, 3, stride, dilation=place.first_dilation),
        "bn1": norm(hidden),
        "drop_block": drop_block,
        "act1": act(),
        "aa": pool,
        "conv2": make_conv(hidden, place.channels, 3, dilation=place.dilation),
        "bn2": norm(place.channels),
        "act2": act(),
    }


def bottleneck_parts(spec: ResNetSpec, place: BlockPlace, drop_block: nn.Module) -> dict[str, nn.Module]:
    """1x1, 3x3 (grouped in ResNeXt), 1x1 to four times the width, and `act3`; the stride is on the 3x3."""
    norm, act = norm_factory(spec.norm_layer), partial(make_activation, spec.act_layer)
    width = bottleneck_width(spec, place)
    hidden = width // spec.block_reduce_first
    stride, pool = antialias(spec, place, width)
    return {
        "conv1": make_conv(place.in_channels, hidden, 1),
        "bn1": norm(hidden),
        "act1": act(),
        "conv2": make_conv(hidden, width, 3, stride, dilation=place.first_dilation, groups=spec.cardinality),
        "bn2": norm(width),
        "drop_block": drop_block,
        "act2": act(),
        "aa": pool,
        "conv3": make_conv(width, place.channels, 1),
        "bn3": norm(place.channels),
        "act3": act(),
    }


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions."""

    expansion = 1


class Bottleneck(ResidualBlock):
    """A 3x3 convolution between two 1x1 convolutions, the last of which widens."""

    expansion = 4


def basic_block(spec: ResNetSpec, place: BlockPlace, drop_block: nn.Module) -> ResidualBlock:
    parts = {**basic_parts(spec, place, drop_block), **shortcut_parts(spec, place)}
    return BasicBlock(parts, act="act2", last_norm="bn2")


def bottleneck(spec: ResNetSpec, place: BlockPlace, drop_block: nn.Module) -> ResidualBlock:
    parts = {**bottleneck_parts(spec, place, drop_block), **shortcut_parts(spec, place)}
    return Bottleneck(parts, act="act3", last_norm="bn3")


class BlockKind(NamedTuple):
    """How a block is made, and the channels that leave it against the width of its stage."""

    make: Callable[[Any, BlockPlace, nn.Module], ResidualBlock]
    expansion: int


class ResNet(ConvNet):
    """Stem, four stages of residual blocks, pooling, classifier `fc`.

    `drop_block_rate` is the rate of DropBlock in the last two stages.
    """

    spec: ResNetSpec
    blocks: ClassVar[Mapping[str, BlockKind]] = {
        "basic": BlockKind(basic_block, BasicBlock.expansion),
        "bottleneck": BlockKind(bottleneck, Bottleneck.expansion),
    }
    initial_values = KAIMING
    trunk = ("maxpool", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, spec: ResNetSpec | type[ResidualBlock], *arguments: Any, **options: Any) -> None:
        """Of a spec; or as published, of a block's class and `layers`, the blocks of each stage, and then of the spec's
        other fields by name."""
        if not isinstance(spec, type):
            super().__init__(spec, *arguments, **options)
            return
        layers, *others = arguments or [options.pop("layers")]
        fields = {f.name: options.pop(f.name) for f in dataclasses.fields(ResNetSpec) if f.name in options}
        block = "basic" if issubclass(spec, BasicBlock) else "bottleneck"
        super().__init__(ResNetSpec(block=block, layers=tuple(layers), **fields), *others, **options)
        if not next(self.parameters()).is_meta:
            self.init_weights()

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0, drop_block_rate: float = 0.0) -> None:
        spec = self.spec
        width = self.make_stem(spec)
        names = (spec.block,) * len(spec.layers) if isinstance(spec.block, str) else spec.block
        kinds = [self.blocks[name] for name in names]
        rows = zip(spec.layers, spec.channels, kinds, strict=True)
        widths = [[channels * kind.expansion] * depth for depth, channels, kind in rows]
        for places in walk_stages(widths, width, 4, output_stride=output_stride, drop_path=drop_path_rate):
            last = places[-1]
            make_block, name = kinds[last.stage].make, f"layer{last.stage + 1}"
            blocks = (make_block(spec, place, make_drop_block(last.stage, drop_block_rate)) for place in places)
            self.add_module(name, nn.Sequential(*blocks))
            self.feature_info.append(last.level(name))
        self.num_features = self.feature_info[-1]["num_chs"]

    def make_stem(self, spec: ResNetSpec) -> int:
        """Create the stem; returns its channels."""
        norm, in_chans, width = norm_factory(spec.norm_layer), self.in_chans, 64
        if spec.stem_type:
            first = spec.stem_width // 4 * 3 if spec.stem_type == "deep_tiered" else spec.stem_width
            width = spec.stem_width * 2
            self.conv1: nn.Module = nn.Sequential(
                make_conv(in_chans, first, 3, 2),
                norm(first),
                make_activation(spec.act_layer),
                make_conv(first, spec.stem_width, 3),
                norm(spec.stem_width),
                make_activation(spec.act_layer),
                make_conv(spec.stem_width, width, 3),
            )
        else:
            self.conv1 = make_conv(in_chans, width, 7, 2)
        self.bn1 = norm(width)
        self.act1 = make_activation(spec.act_layer)
        self.add_level(width, 2, "act1")
        self.maxpool = self._make_stem_pool(spec, norm, width)
        return width

    @staticmethod
    def _make_stem_pool(spec: ResNetSpec, norm: NormFactory, width: int) -> nn.Module:
        if spec.replace_stem_pool:
            pool = [antialias_pool(spec.aa_layer, width, 2)] if spec.aa_layer else []
            conv = make_conv(width, width, 3, stride=1 if spec.aa_layer else 2)
            return nn.Sequential(conv, *pool, norm(width), make_activation(spec.act_layer))
        if spec.aa_layer == "avg":
            return nn.AvgPool2d(2)
        if spec.aa_layer == "blur":
            return nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), BlurPool2d(width))
        return nn.MaxPool2d(3, stride=2, padding=1)

    def stem_step(self) -> tuple[str, Step]:
        """What runs before the stem's pooling."""
        return "act1", lambda x: self.act1(self.bn1(self.conv1(x)))

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield self.stem_step()
        yield from super().steps()

    def zero_initialised(self, block: ResidualBlock) -> bool:  # noqa: ARG002 - all or none
        return self.spec.zero_init_last
