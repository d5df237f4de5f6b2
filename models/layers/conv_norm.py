"""A convolution and the batch norm behind it, or a batch norm and the linear layer behind it, to be folded into one.

The names of the parts, `c`, `bn` and `l`, are those of LeViT's code (Graham et al., arXiv:2104.01136).
"""

from __future__ import annotations

from collections import OrderedDict

import torch.nn as nn

from zoo.models.layers.conv_same import make_conv


def conv_norm(in_channels: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution `c` without bias and its norm `bn`; the borders are padded by half the kernel."""
    conv = make_conv(in_channels, channels, kernel, stride, groups=groups)
    return nn.Sequential(OrderedDict(c=conv, bn=nn.BatchNorm2d(channels)))


def norm_linear(in_features: int, features: int) -> nn.Sequential:
    """A norm `bn` of vectors (N, `in_features`) and a linear layer `l`."""
    return nn.Sequential(OrderedDict(bn=nn.BatchNorm1d(in_features), l=nn.Linear(in_features, features)))
