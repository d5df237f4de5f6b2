"""ResNeSt: Zhang et al., ResNeSt: Split-Attention Networks (arXiv:2004.08955)."""

from __future__ import annotations

from functools import partial

import torch.nn as nn

from zoo.core.architectures.configs.resnest import ResNestSpec
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.norm import norm_factory
from zoo.models.layers.path_attention import SplitAttention
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace
from zoo.models.resnet import BlockKind, ResNet, bottleneck_width, shortcut_parts

__getattr__ = family_attributes("resnest")


def split_attention_block(spec: ResNestSpec, place: BlockPlace, drop_block: nn.Module) -> ResidualBlock:
    """1x1, split attention, 1x1; a 3x3 average has the stride."""
    norm, act = norm_factory(spec.norm_layer), partial(make_activation, spec.act_layer)
    width = bottleneck_width(spec, place)
    average = nn.AvgPool2d(3, place.stride, padding=1) if place.stride > 1 else nn.Identity()
    attention = SplitAttention(
        width,
        width,
        dilation=place.first_dilation,
        groups=spec.cardinality,
        radix=spec.radix,
        norm=norm,
        drop_block=drop_block,
    )
    middle = {"avd": average, "conv2": attention} if spec.avd_first else {"conv2": attention, "avd": average}
    parts = {
        "conv1": make_conv(place.in_channels, width, 1),
        "bn1": norm(width),
        "act1": act(),
        **middle,
        "conv3": make_conv(width, place.channels, 1),
        "bn3": norm(place.channels),
        "act3": act(),
    }
    return ResidualBlock({**parts, **shortcut_parts(spec, place)}, act="act3", last_norm="bn3")


class ResNest(ResNet):
    """ResNet of split-attention blocks."""

    blocks = {"resnest": BlockKind(split_attention_block, 4)}
