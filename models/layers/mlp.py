"""The two-layer perceptron that every position passes through by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn as nn
from torch import Tensor

from zoo.models.layers.activation import make_activation
from zoo.models.layers.grn import GlobalResponseNorm


def pointwise(in_channels: int, channels: int, *, bias: bool = True, conv: bool = False) -> nn.Module:
    """A linear layer over the last axis, or with `conv` the same as a 1x1 convolution of (N, C, H, W)."""
    return nn.Conv2d(in_channels, channels, 1, bias=bias) if conv else nn.Linear(in_channels, channels, bias=bias)


class Mlp(nn.Module):
    """`fc1`, activation, `norm`, `fc2` over (..., C), or with `conv` over (N, C, H, W).

    Args:
        channels: of the input.
        hidden: width between the two layers.
        out_channels: of the output; None is `channels`.
        act: name of the activation.
        norm: makes the norm before `fc2` from its channels; None leaves an identity.
        bias: of both layers.
        drop: dropout after the activation and at the end.
        conv: 1x1 convolutions instead of linear layers.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        out_channels: int | None = None,
        *,
        act: str = "gelu",
        norm: Callable[[int], nn.Module] | None = None,
        bias: bool = True,
        drop: float = 0.0,
        conv: bool = False,
    ) -> None:
        super().__init__()
        self.fc1 = pointwise(channels, hidden, bias=bias, conv=conv)
        self.act = make_activation(act)
        self.drop1 = nn.Dropout(drop)
        self.norm = norm(hidden) if norm else nn.Identity()
        self.fc2 = pointwise(hidden, channels if out_channels is None else out_channels, bias=bias, conv=conv)
        self.drop2 = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.drop1(self.act(self.fc1(x))))
        return self.drop2(self.fc2(x))


class GlobalResponseNormMlp(nn.Module):
    """ConvNeXt V2's: global response norm before the second layer, over (N, H, W, C) or with `conv` (N, C, H, W)."""

    def __init__(self, channels: int, hidden: int, *, act: str = "gelu", conv: bool = False) -> None:
        super().__init__()
        self.fc1 = pointwise(channels, hidden, conv=conv)
        self.act = make_activation(act)
        self.grn = GlobalResponseNorm(hidden, channels_last=not conv)
        self.fc2 = pointwise(hidden, channels, conv=conv)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.grn(self.act(self.fc1(x))))
