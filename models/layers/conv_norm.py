"""A convolution and the batch norm behind it, or a batch norm and the linear layer behind it, to be joined into one.

Other families publish such pairs as two layers in every form, so they are other modules there. The names of the parts,
`c`, `bn` and `l`, are those of LeViT's code (Graham et al., arXiv:2104.01136).
"""

from __future__ import annotations

from collections import OrderedDict

import torch.nn as nn

from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.linear_map import Diagonal, LinearMap


class ConvThenNorm(nn.Sequential):
    """A convolution and a batch norm under any two names."""

    def linear_map(self) -> LinearMap:
        conv, norm = self
        return LinearMap.of(conv, norm)

    def fuse(self) -> nn.Module:
        """One convolution."""
        return self.linear_map().as_layer(self[0])


class NormThenLinear(nn.Sequential):
    """A batch norm and a linear layer under any two names."""

    def linear_map(self) -> LinearMap:
        norm, layer = self
        return LinearMap.of(layer).after(Diagonal.of(norm))

    def fuse(self) -> nn.Module:
        """One linear layer."""
        return self.linear_map().as_layer(self[1])


def conv_norm(
    in_channels: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, name: str = "c"
) -> ConvThenNorm:
    """A convolution `name` without bias and its norm `bn`; the borders are padded by half the kernel."""
    conv = make_conv(in_channels, channels, kernel, stride, groups=groups)
    return ConvThenNorm(OrderedDict([(name, conv), ("bn", nn.BatchNorm2d(channels))]))


def norm_linear(in_features: int, features: int) -> NormThenLinear:
    """A norm `bn` of vectors (N, `in_features`) and a linear layer `l`."""
    return NormThenLinear(OrderedDict(bn=nn.BatchNorm1d(in_features), l=nn.Linear(in_features, features)))
