"""CondConv: convolution with a kernel mixed for each sample (arXiv:1904.04971)."""

from __future__ import annotations

from math import prod, sqrt

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.conv_same import needs_input_size, pad_same, symmetric_padding


class CondConv2d(nn.Module):
    """`forward(x, routing)`: x (N, C, H, W), routing (N, experts) -> (N, channels, H', W').

    Row e of `weight` is expert e's kernel, flattened; a sample's kernel is the sum of them weighted by its routing.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        *,
        experts: int,
        pad_type: str = "",
    ) -> None:
        super().__init__()
        self.kernel_shape = (channels, in_channels // groups, kernel, kernel)
        self.out_channels, self.stride, self.dilation, self.groups = channels, stride, dilation, groups
        self.same = needs_input_size(pad_type, kernel, stride, dilation)
        self.padding = 0 if self.same else symmetric_padding(kernel, stride, dilation)
        self.weight = nn.Parameter(torch.empty(experts, prod(self.kernel_shape)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Each expert as one convolution: normal with variance 2 / fan-out."""
        channels, _, height, width = self.kernel_shape
        nn.init.normal_(self.weight, std=sqrt(2 * self.groups / (channels * height * width)))

    def forward(self, x: Tensor, routing: Tensor) -> Tensor:
        batch = x.shape[0]
        # One grouped convolution for the whole batch: the samples become groups of channels.
        kernels = (routing @ self.weight).reshape(-1, *self.kernel_shape[1:])
        if self.same:
            size = self.kernel_shape[2:]
            x = pad_same(x, size, (self.stride, self.stride), (self.dilation, self.dilation))
        x = x.reshape(1, -1, x.shape[2], x.shape[3])
        x = F.conv2d(x, kernels, None, self.stride, self.padding, self.dilation, self.groups * batch)
        return x.reshape(batch, self.out_channels, x.shape[2], x.shape[3])

    def extra_repr(self) -> str:
        return f"{self.kernel_shape}, experts={self.weight.shape[0]}, stride={self.stride}, groups={self.groups}"
