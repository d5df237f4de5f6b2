"""SENet as converted from Caffe: Hu et al., Squeeze-and-Excitation Networks (arXiv:1709.01507).

Its stem and its pooling are its own; the trunk is ResNet's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch.nn as nn

from zoo.core.architectures.configs.resnet import ResNetSpec
from zoo.core.architectures.configs.senet import SENetSpec
from zoo.models.base import Step, in_sequence
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.norm import norm_factory
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace
from zoo.models.resnet import (
    BlockKind,
    ResNet,
    basic_parts,
    bottleneck_parts,
    bottleneck_width,
    make_downsample,
    shortcut_parts,
)

__getattr__ = family_attributes("senet")

se_shortcut = partial(shortcut_parts, attention="se_module", divisor=1)


def basic_block(spec: SENetSpec, place: BlockPlace, drop_block: nn.Module) -> ResidualBlock:
    """Two 3x3 convolutions, an activation behind each."""
    parts = {**basic_parts(spec, place, drop_block), **se_shortcut(spec, place)}
    return ResidualBlock({**parts, "act": make_activation(spec.act_layer)}, last_norm="bn2")


def bottleneck(spec: SENetSpec, place: BlockPlace, drop_block: nn.Module) -> ResidualBlock:
    """As ResNet's."""
    parts = {**bottleneck_parts(spec, place, drop_block), **se_shortcut(spec, place)}
    return ResidualBlock(parts, act="act3", last_norm="bn3")


def caffe_bottleneck(spec: SENetSpec, place: BlockPlace, drop_block: nn.Module) -> ResidualBlock:
    """The stride is on the first convolution."""
    block = bottleneck(spec, replace(place, stride=1), drop_block)
    hidden = bottleneck_width(spec, place) // spec.block_reduce_first
    block.conv1 = make_conv(place.in_channels, hidden, 1, place.stride)
    block.downsample = make_downsample(spec, place)
    return block


class SENet(ResNet):
    """Stem `layer0`, four stages of residual blocks, pooling, classifier `last_linear`."""

    spec: SENetSpec
    blocks = {
        "basic": BlockKind(basic_block, 1),
        "bottleneck": BlockKind(bottleneck, 4),
        "caffe_bottleneck": BlockKind(caffe_bottleneck, 4),
    }
    default_drop_rate = 0.2
    trunk = ("pool0", "layer1", "layer2", "layer3", "layer4")

    def make_stem(self, spec: ResNetSpec) -> int:
        widths, kernel = ((64, 64, 128), 3) if spec.stem_type else ((64,), 7)
        norm, channels = norm_factory(spec.norm_layer), self.in_chans
        self.layer0 = nn.Sequential()
        for number, width in enumerate(widths, start=1):
            self.layer0.add_module(f"conv{number}", make_conv(channels, width, kernel, 2 if number == 1 else 1))
            self.layer0.add_module(f"bn{number}", norm(width))
            self.layer0.add_module(f"relu{number}", make_activation(spec.act_layer))
            channels = width
        self.add_level(channels, 2, "layer0")
        self.pool0 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        return channels

    def stem_step(self) -> tuple[str, Step]:
        return "layer0", in_sequence([self.layer0])
