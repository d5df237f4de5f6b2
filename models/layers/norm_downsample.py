"""A norm and a strided convolution between two stages (Liu et al., arXiv:2201.03545, section 2.6)."""

from __future__ import annotations

import torch.nn as nn

from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.norm import NormFactory
from zoo.models.layers.stages import BlockPlace


def norm_downsample(first: BlockPlace, norm: NormFactory, bias: bool = True) -> nn.Sequential:
    """To the channels and the resolution of a stage, of which `first` is the place of the first block.

    The kernel is the stride; where a stride became a dilation it is one of the same size without stride.
    """
    return nn.Sequential(
        norm(first.in_channels),
        make_conv(
            first.in_channels,
            first.channels,
            2 if first.stride > 1 or first.first_dilation != first.dilation else 1,
            first.stride,
            dilation=first.first_dilation,
            pad_type="same" if first.dilation > 1 else "valid",
            bias=bias,
        ),
    )
