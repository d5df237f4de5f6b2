"""Attention that weighs parallel paths of maps against one another, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_norm_act import ConvFactory
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.norm import NormFactory, norm_factory
from zoo.models.layers.tracing import listed


def weighted_sum(paths: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Paths (N, C, H, W) and their weights (N, paths, C) -> (N, C, H, W)."""
    first, *others = listed(weights[..., None, None].unbind(1), len(paths))
    total = paths[0] * first
    for path, weight in zip(paths[1:], others, strict=True):
        total = torch.addcmul(total, path, weight)
    return total


class SplitAttention(nn.Module):
    """A convolution to `radix` paths that are summed by their softmax (Zhang et al., ResNeSt, arXiv:2004.08955).

    A single path is gated by a sigmoid.

    Args:
        in_channels, channels: of input and output.
        kernel, stride, dilation: of the convolution.
        groups: the paper's cardinality: groups of each path and of the attention.
        norm, act: after the convolution, and inside the attention.
        ratio: hidden width of the attention against the input of all paths; it is 32 or more.
        drop_block: between norm and activation of the convolution.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        radix: int = 2,
        norm: NormFactory,
        act: str = "relu",
        ratio: float = 0.25,
        drop_block: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.radix, self.groups, width = radix, groups, channels * radix
        hidden = max(32, make_divisible(in_channels * radix * ratio))
        self.conv = make_conv(in_channels, width, kernel, stride, dilation=dilation, groups=groups * radix)
        self.bn0 = norm(width)
        self.drop = drop_block or nn.Identity()
        self.act0 = make_activation(act)
        self.fc1 = nn.Conv2d(channels, hidden, 1, groups=groups)
        self.bn1 = norm(hidden)
        self.act1 = make_activation(act)
        self.fc2 = nn.Conv2d(hidden, width, 1, groups=groups)

    def weigh(self, pooled: Tensor) -> Tensor:
        """The sum of the pooled paths (N, C, 1, 1) -> weights (N, radix, C)."""
        logits = self.fc2(self.act1(self.bn1(self.fc1(pooled)))).flatten(1)
        if self.radix == 1:
            return logits.sigmoid().unsqueeze(1)
        # The paths of a group lie side by side.
        return logits.unflatten(1, (self.groups, self.radix, -1)).softmax(2).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act0(self.drop(self.bn0(self.conv(x))))
        pooled = x.mean((2, 3), keepdim=True).unflatten(1, (self.radix, -1)).sum(1)
        return weighted_sum(listed(x.chunk(self.radix, 1), self.radix), self.weigh(pooled))


class SelectiveKernelAttention(nn.Module):
    """The pooled sum of the paths (N, C, 1, 1) -> their weights (N, num_paths, C), a softmax over the paths."""

    def __init__(self, channels: int, hidden: int, num_paths: int) -> None:
        super().__init__()
        self.num_paths = num_paths
        self.fc_reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.bn = norm_factory("batchnorm")(hidden)
        self.act = make_activation("relu")
        self.fc_select = nn.Conv2d(hidden, channels * num_paths, 1, bias=False)

    def forward(self, pooled: Tensor) -> Tensor:
        logits = self.fc_select(self.act(self.bn(self.fc_reduce(pooled)))).flatten(1)
        return logits.unflatten(1, (self.num_paths, -1)).softmax(1)


class SelectiveKernel(nn.Module):
    """A 3x3 and a 5x5 convolution, summed by attention (Li et al., Selective Kernel Networks, arXiv:1903.06586).

    The larger kernel is a 3x3 of twice the dilation, as in the paper.

    Args:
        in_channels, channels: of input and output.
        stride, dilation, groups, aa_layer: of each convolution.
        conv: makes a convolution with norm and activation.
        ratio, divisor: hidden width of the attention against the output, and what it is a multiple of.
        split_input: each convolution reads its share of the input's channels, not all of them.
        drop_block: after each convolution.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        conv: ConvFactory,
        aa_layer: str = "",
        ratio: float = 1 / 16,
        divisor: int = 8,
        split_input: bool = True,
        drop_block: nn.Module | None = None,
    ) -> None:
        super().__init__()
        dilations = (dilation, 2 * dilation)
        self.split_input = split_input
        width = in_channels // len(dilations) if split_input else in_channels
        make = partial(conv, width, channels, 3, stride, groups=min(channels, groups), aa_layer=aa_layer)
        self.paths = nn.ModuleList(make(dilation=spread) for spread in dilations)
        self.attn = SelectiveKernelAttention(channels, make_divisible(channels * ratio, divisor), len(dilations))
        self.drop = drop_block or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        num_paths = len(self.paths)
        shares = listed(x.chunk(num_paths, 1), num_paths) if self.split_input else [x] * num_paths
        maps = [self.drop(path(share)) for path, share in zip(self.paths, shares, strict=True)]
        pooled = torch.stack([m.mean((2, 3), keepdim=True) for m in maps]).sum(0)
        return weighted_sum(maps, self.attn(pooled))
