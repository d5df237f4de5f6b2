"""A convolution with the norm and the activation that follow it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn as nn
from torch import Tensor

from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.norm_act import NormActFactory, norm_act_factory
from zoo.models.layers.pool import antialias_pool

ConvFactory = Callable[..., "ConvNormAct"]


class ConvNormAct(nn.Module):
    """Convolution, norm and activation, with the keys `conv` and `bn`.

    Args:
        in_channels, channels: of input and output.
        kernel: size of the kernel, or (height, width).
        stride: of the convolution, or of the pooling after it where there is an `aa_layer`.
        norm_act: makes the norm and its activation.
        act: another activation than that of `norm_act`; "identity" leaves it out.
        pad_type: "" (symmetric), "same" (as TensorFlow's) or "valid" (none).
        padding: pixels at each border, in place of a `pad_type`.
        aa_layer: "", or the pooling that takes over a stride: "blur", "blurpc" or "avg".
        bias: whether the convolution has one.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        *,
        norm_act: NormActFactory,
        act: str | None = None,
        dilation: int = 1,
        groups: int = 1,
        pad_type: str = "",
        padding: int | None = None,
        aa_layer: str = "",
        bias: bool = False,
    ) -> None:
        super().__init__()
        pooled = bool(aa_layer) and stride > 1
        conv_stride = 1 if pooled else stride
        self.conv = make_conv(
            in_channels,
            channels,
            kernel,
            conv_stride,
            dilation=dilation,
            groups=groups,
            pad_type=pad_type,
            padding=padding,
            bias=bias,
        )
        self.bn = norm_act(channels) if act is None else norm_act(channels, act=act)
        self.aa = antialias_pool(aa_layer, channels, stride) if pooled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.aa(self.bn(self.conv(x)))


def conv_factory(norm_layer: str, act_layer: str, norm_eps: float = 1e-5, group_size: int = 0) -> ConvFactory:
    """(in_channels, channels, kernel=1, stride=1, **options) -> a `ConvNormAct` with this norm and activation."""
    return partial(ConvNormAct, norm_act=norm_act_factory(norm_layer, act_layer, norm_eps, group_size))
