"""Convolutions with standardised weights.

Qiao et al., Micro-Batch Training with Batch-Channel Normalization and Weight Standardization (arXiv:1903.10520);
Brock et al., Characterizing signal propagation to close the performance gap in unnormalized ResNets
(arXiv:2101.08692): with a gain, scaled by the fan-in.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.conv_same import needs_input_size, pad_same, symmetric_padding


class StdConv2d(nn.Conv2d):
    """Convolution whose filters are brought to mean 0 and variance 1 before use.

    Args:
        in_channels, channels, kernel, stride, dilation, groups: of the convolution.
        eps: added to the variance of a filter.
        pad_type: "" (symmetric) or "same" (as TensorFlow's).
        bias: whether it has one.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        eps: float = 1e-6,
        pad_type: str = "",
        bias: bool = False,
    ) -> None:
        same = needs_input_size(pad_type, kernel, stride, dilation)
        padding = 0 if same else symmetric_padding(kernel, stride, dilation)
        super().__init__(in_channels, channels, kernel, stride, padding, dilation, groups, bias)
        self.pads_same, self.eps = same, eps

    def standardised_weight(self) -> Tensor:
        filters = self.weight.flatten(1)
        return F.layer_norm(filters, filters.shape[1:], eps=self.eps).view_as(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        if self.pads_same:
            x = pad_same(x, self.kernel_size, self.stride, self.dilation)
        weight = self.standardised_weight()
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ScaledStdConv2d(StdConv2d):
    """Standardised filters times `gain * scale / sqrt(fan-in)`, which keeps the variance of what passes through.

    Args:
        scale: of an activation in front of it, the inverse of the deviation that it leaves (`variance_gain`).
        gain_init: initial value of the learned gain of each filter.
        others: as StdConv2d.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        eps: float = 1e-6,
        pad_type: str = "",
        bias: bool = True,
        scale: float = 1.0,
        gain_init: float = 1.0,
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            kernel,
            stride,
            dilation=dilation,
            groups=groups,
            eps=eps,
            pad_type=pad_type,
            bias=bias,
        )
        self.scale, self.gain_init = scale * self.weight[0].numel() ** -0.5, gain_init
        self.gain = nn.Parameter(torch.empty(channels, 1, 1, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if "gain" in self._parameters:  # not yet there when the base class initialises
            nn.init.constant_(self.gain, self.gain_init)

    def standardised_weight(self) -> Tensor:
        return super().standardised_weight() * (self.gain * self.scale)
