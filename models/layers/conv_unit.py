"""A convolution, a norm and an activation as a plain sequence, any but the first of which may be missing."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn as nn

from zoo.models.layers.activation import make_activation
from zoo.models.layers.norm import NormFactory


def conv_unit(
    in_channels: int,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    groups: int = 1,
    norm: NormFactory | None = nn.BatchNorm2d,
    act: str = "",
    bias: bool | None = None,
    norm_key: str = "norm",
) -> nn.Sequential:
    """(N, in_channels, H, W) -> (N, channels, H / stride, W / stride), as many cells as the stride gives.

    Args:
        in_channels, channels: of input and output.
        kernel: side of the kernel. An even one looks up and left; with its own size as stride it cuts tiles.
        stride, groups: of the convolution.
        norm: makes the norm; None for none.
        act: name of the activation; "" for none.
        bias: of the convolution; by default where no norm follows.
        norm_key: name of the norm.
    """
    bias = norm is None if bias is None else bias
    conv: nn.Module = nn.Conv2d(in_channels, channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=bias)
    if kernel % 2 == 0 and stride == 1:
        conv = nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), conv)
    parts = {"conv": conv}
    if norm is not None:
        parts[norm_key] = norm(channels)
    if act:
        parts["act"] = make_activation(act)
    return nn.Sequential(OrderedDict(parts))
