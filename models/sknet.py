"""ResNet with selective kernels: Li et al., Selective Kernel Networks (arXiv:1903.06586).

Halved inputs of the two kernels are a later variation; SKNet-50 of the paper is skresnext50_32x4d.
"""

from __future__ import annotations

import torch.nn as nn

from zoo.core.architectures.configs.sknet import SkNetSpec
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_norm_act import ConvFactory, conv_factory
from zoo.models.layers.path_attention import SelectiveKernel
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace
from zoo.models.resnet import BlockKind, ResNet, basic_width, bottleneck_width, shortcut_parts

__getattr__ = family_attributes("sknet")


def selective_kernel(
    spec: SkNetSpec, place: BlockPlace, conv: ConvFactory, in_channels: int, channels: int, drop_block: nn.Module
) -> SelectiveKernel:
    """The strided convolution of a block."""
    return SelectiveKernel(
        in_channels,
        channels,
        place.stride,
        dilation=place.first_dilation,
        groups=spec.cardinality,
        conv=conv,
        aa_layer=spec.aa_layer,
        ratio=spec.sk_ratio,
        divisor=spec.sk_divisor,
        split_input=spec.split_input,
        drop_block=drop_block,
    )


def basic_block(spec: SkNetSpec, place: BlockPlace, drop_block: nn.Module) -> ResidualBlock:
    """A selective kernel and a 3x3 convolution."""
    conv, hidden = conv_factory(spec.norm_layer, spec.act_layer), basic_width(spec, place)
    parts = {
        "conv1": selective_kernel(spec, place, conv, place.in_channels, hidden, drop_block),
        "conv2": conv(hidden, place.channels, 3, dilation=place.dilation, act="identity"),
        "act": make_activation(spec.act_layer),
    }
    return ResidualBlock({**parts, **shortcut_parts(spec, place)}, last_norm="conv2.bn")


def bottleneck(spec: SkNetSpec, place: BlockPlace, drop_block: nn.Module) -> ResidualBlock:
    """1x1, a selective kernel, 1x1."""
    conv, width = conv_factory(spec.norm_layer, spec.act_layer), bottleneck_width(spec, place)
    hidden = width // spec.block_reduce_first
    parts = {
        "conv1": conv(place.in_channels, hidden),
        "conv2": selective_kernel(spec, place, conv, hidden, width, drop_block),
        "conv3": conv(width, place.channels, act="identity"),
        "act": make_activation(spec.act_layer),
    }
    return ResidualBlock({**parts, **shortcut_parts(spec, place)}, last_norm="conv3.bn")


class SkNet(ResNet):
    """ResNet of blocks with a selective kernel."""

    blocks = {"sk_basic": BlockKind(basic_block, 1), "sk_bottleneck": BlockKind(bottleneck, 4)}
