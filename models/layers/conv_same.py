"""Convolutions that keep the size up to their stride, with PyTorch's symmetric or TensorFlow's SAME padding."""

from __future__ import annotations

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.tracing import leaf_function


def symmetric_padding(kernel: int, stride: int = 1, dilation: int = 1) -> int:
    """Padding of both borders that gives an output of `ceil(size / stride)` for an odd kernel."""
    return (stride - 1 + dilation * (kernel - 1)) // 2


@leaf_function
def pad_same(
    x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...], value: float = 0.0
) -> Tensor:
    """Pad (N, C, H, W) as TensorFlow's SAME does: the odd pixel of padding goes to the right and bottom.

    The total is what the last window of `ceil(size / stride)` windows lacks.
    """
    borders: list[int] = []
    for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
        windows = (size + s - 1) // s
        lacking = max((windows - 1) * s + d * (k - 1) + 1 - size, 0)
        borders = [lacking // 2, lacking - lacking // 2, *borders]  # F.pad counts from the last dimension
    return F.pad(x, borders, value=value)


class Conv2dSame(nn.Conv2d):
    """Convolution whose padding depends on the size of its input."""

    def forward(self, x: Tensor) -> Tensor:
        x = pad_same(x, self.kernel_size, self.stride, self.dilation)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def needs_input_size(pad_type: str, kernel: int, stride: int, dilation: int) -> bool:
    """Whether the padding is SAME and lopsided or of an amount that the input's size decides."""
    return pad_type == "same" and not (stride == 1 and dilation * (kernel - 1) % 2 == 0)


def make_conv(
    in_channels: int,
    channels: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    *,
    dilation: int = 1,
    groups: int = 1,
    pad_type: str = "",
    padding: int | None = None,
    bias: bool = False,
) -> nn.Conv2d:
    """A convolution with a kernel of one size or (height, width).

    `pad_type` "" pads symmetrically, "same" as TensorFlow's SAME does, "valid" not at all; `padding` replaces it by
    so many pixels at each border.
    """
    if padding is not None:
        return nn.Conv2d(in_channels, channels, kernel, stride, padding, dilation, groups, bias)
    sizes = (kernel, kernel) if isinstance(kernel, int) else kernel
    if any(needs_input_size(pad_type, size, stride, dilation) for size in sizes):
        return Conv2dSame(in_channels, channels, sizes, stride, dilation=dilation, groups=groups, bias=bias)
    height, width = (0 if pad_type == "valid" else symmetric_padding(size, stride, dilation) for size in sizes)
    return nn.Conv2d(in_channels, channels, sizes, stride, (height, width), dilation, groups, bias)
