"""Inverted bottlenecks whose convolutions keep their norms: the keys are `depth_conv.conv`, `depth_conv.norm`.

Sandler et al., MobileNetV2 (arXiv:1801.04381); Tan and Le, EfficientNetV2 (arXiv:2104.00298).
"""

from __future__ import annotations

from collections import OrderedDict

import torch.nn as nn

from zoo.models.layers.conv_unit import conv_unit
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.norm import NormFactory
from zoo.models.layers.residual import ResidualBlock


def mbconv(
    in_channels: int,
    channels: int,
    *,
    expand: float,
    act: str,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    norm: NormFactory = nn.BatchNorm2d,
    normed: tuple[bool, bool, bool] = (True, True, True),
) -> nn.Sequential:
    """Pointwise expansion in so many groups, depthwise convolution, pointwise projection without activation.

    `normed` says which of the three have a norm; the others have a bias.
    """
    hidden = round(in_channels * expand)
    first, second, third = (norm if has_norm else None for has_norm in normed)
    parts = {
        "inverted_conv": conv_unit(in_channels, hidden, groups=groups, norm=first, act=act),
        "depth_conv": conv_unit(hidden, hidden, kernel, stride, groups=hidden, norm=second, act=act),
        "point_conv": conv_unit(hidden, channels, norm=third),
    }
    return nn.Sequential(OrderedDict(parts))


def fused_mbconv(
    in_channels: int,
    channels: int,
    *,
    expand: float,
    act: str,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    norm: NormFactory = nn.BatchNorm2d,
    bias: bool = False,
) -> nn.Sequential:
    """Expansion by a convolution in so many groups, which may have a bias; pointwise projection without activation."""
    hidden = round(in_channels * expand)
    parts = {
        "spatial_conv": conv_unit(in_channels, hidden, kernel, stride, groups=groups, norm=norm, act=act, bias=bias),
        "point_conv": conv_unit(hidden, channels, norm=norm),
    }
    return nn.Sequential(OrderedDict(parts))


def residual(main: nn.Module, drop_path: float = 0.0) -> ResidualBlock:
    """`x + main(x)`, with stochastic depth at this rate."""
    return ResidualBlock({"main": main, "drop_path": make_drop_path(drop_path)}, shortcut="shortcut")


def downsample(main: nn.Module) -> ResidualBlock:
    """`main(x)` under the key that it has within a shortcut."""
    return ResidualBlock({"main": main, "shortcut": None}, shortcut="shortcut")
