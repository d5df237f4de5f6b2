"""Attention over channels: each map is scaled by a gate computed from the pooled maps."""

from __future__ import annotations

from collections import OrderedDict
from math import log2

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.models.layers.activation import make_activation
from zoo.models.layers.bilinear_attention import BilinearAttention
from zoo.models.layers.norm import LayerNorm2d


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation (arXiv:1709.01507) with the keys `fc1`, `fc2`.

    The hidden width is given, or `ratio` of the channels, brought to a multiple of 8.
    """

    def __init__(
        self, channels: int, ratio: float = 1 / 16, act: str = "relu", hidden: int = 0, bias: bool = True
    ) -> None:
        super().__init__()
        hidden = hidden or make_divisible(channels * ratio, round_limit=0.0)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.act = make_activation(act)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True)
        return x * self.fc2(self.act(self.fc1(pooled))).sigmoid()


class MBConvSqueezeExcite(nn.Module):
    """Squeeze-and-excitation inside MBConv, with the keys `conv_reduce`, `conv_expand` and a given hidden width."""

    def __init__(self, channels: int, hidden: int, act: str, gate: str = "sigmoid") -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, hidden, 1)
        self.act1 = make_activation(act)
        self.conv_expand = nn.Conv2d(hidden, channels, 1)
        self.gate = make_activation(gate)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.conv_expand(self.act1(self.conv_reduce(pooled))))


class GlobalContext(nn.Module):
    """GCNet's block (arXiv:1904.11492): the context is a softmax-weighted mean over all positions.

    What two layers make of it scales the maps, or is added to them where `adds`.
    """

    def __init__(self, channels: int, hidden: int, act: str, *, adds: bool = False) -> None:
        super().__init__()
        self.conv_attn = nn.Conv2d(channels, 1, 1)
        self.adds = adds
        layers = OrderedDict(
            fc1=nn.Conv2d(channels, hidden, 1),
            norm=LayerNorm2d(hidden),
            act=make_activation(act),
            fc2=nn.Conv2d(hidden, channels, 1),
        )
        if adds:
            self.mlp_add = nn.Sequential(layers)
        else:
            self.mlp_scale = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.conv_attn(x).flatten(2).softmax(-1)
        context = (x.flatten(2) @ weights.transpose(1, 2)).unsqueeze(-1)
        if self.adds:
            return x + self.mlp_add(context)
        return x * self.mlp_scale(context).sigmoid()


class EfficientChannelAttention(nn.Module):
    """ECA (arXiv:1910.03151): a 1-D convolution over channels, its kernel the odd number nearest (log2(C) + 1) / 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = int((log2(channels) + 1) / 2)
        kernel = max(kernel if kernel % 2 else kernel + 1, 3)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3)).unsqueeze(1)
        return x * self.conv(pooled).sigmoid().transpose(1, 2).unsqueeze(-1)


class EffectiveSqueezeExcite(nn.Module):
    """Effective squeeze-and-excitation (CenterMask, arXiv:1911.06667): one layer of full width, key `fc`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)
        self.gate = make_activation("hard_sigmoid")

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.fc(x.mean((2, 3), keepdim=True)))


def make_attention(
    kind: str, channels: int, *, ratio: float = 1 / 16, divisor: int = 8, hidden: int = 0, act: str = "relu"
) -> nn.Module:
    """Attention over `channels` by the name that specs use: "se", "ese", "eca", "gca", "bat", or "".

    The hidden width of "se" is given, or `ratio` of the channels, brought to a multiple of `divisor`; `act` stands
    between its layers.
    """
    if kind == "se":
        hidden = hidden or make_divisible(channels * ratio, divisor, round_limit=0.0)
        return SqueezeExcite(channels, act=act, hidden=hidden)
    if kind == "gca":
        return GlobalContext(channels, make_divisible(channels / 8, 1, round_limit=0.0), "relu", adds=True)
    if kind == "ese":
        return EffectiveSqueezeExcite(channels)
    if kind == "eca":
        return EfficientChannelAttention(channels)
    return BilinearAttention(channels) if kind == "bat" else nn.Identity()
