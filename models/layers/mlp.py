"""Two-layer perceptrons, plain and gated, over the channels of tokens (linear layers) or of maps (1x1 convolutions)."""

from __future__ import annotations

from functools import partial

import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.layers.activation import make_activation
from zoo.models.layers.grn import GlobalResponseNorm
from zoo.models.layers.norm import NormFactory


def pointwise(in_channels: int, channels: int, bias: bool = True, use_conv: bool = False) -> nn.Conv2d | nn.Linear:
    """A linear map of the channels: of (..., C), or with `use_conv` of (N, C, H, W)."""
    if use_conv:
        return nn.Conv2d(in_channels, channels, 1, bias=bias)
    return nn.Linear(in_channels, channels, bias=bias)


class Mlp(nn.Module):
    """`fc2(norm(act(fc1(x))))` with dropout after the activation and at the end.

    Vaswani et al. (arXiv:1706.03762), section 3.3, with the GELU of arXiv:2010.11929. The norm is that of
    arXiv:2210.06423 (Magneto), the identity by default.

    Args:
        in_features: channels of the input.
        hidden_features: channels between the layers, default those of the input.
        out_features: channels of the output, default those of the input.
        act: a name of `activation.ACTIVATIONS`.
        norm: makes the norm before the second layer.
        bias: whether the layers have one; (first, second) where they differ.
        drop: rate of both dropouts.
        use_conv: 1x1 convolutions on (N, C, H, W) instead of linear layers on (..., C).
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        *,
        act: str = "gelu",
        norm: NormFactory | None = None,
        bias: bool | tuple[bool, bool] = True,
        drop: float = 0.0,
        use_conv: bool = False,
    ) -> None:
        super().__init__()
        hidden = hidden_features or in_features
        first_bias, second_bias = bias if isinstance(bias, tuple) else (bias, bias)
        self.fc1 = pointwise(in_features, hidden, first_bias, use_conv)
        self.act = make_activation(act)
        self.drop1 = nn.Dropout(drop)
        self.norm = norm(hidden) if norm else nn.Identity()
        self.fc2 = pointwise(hidden, out_features or in_features, second_bias, use_conv)
        self.drop2 = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop1(self.act(self.fc1(x)))
        return self.drop2(self.fc2(self.norm(x)))


class GluMlp(nn.Module):
    """A perceptron whose first layer gives value and gate side by side: `fc2(norm(value * act(gate)))`.

    Dauphin et al. (arXiv:1612.08083), Shazeer (arXiv:2002.05202). `gate_last=False` with act "silu" is the packed
    SwiGLU of DINOv2: the gate is the first half.

    Args:
        in_features, out_features, norm, bias, drop, use_conv: as for `Mlp`.
        hidden_features: channels after the first layer, value and gate together: an even number.
        act: the gate's activation.
        gate_last: whether the gate is the second half of the channels.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        *,
        act: str = "sigmoid",
        norm: NormFactory | None = None,
        bias: bool | tuple[bool, bool] = True,
        drop: float = 0.0,
        use_conv: bool = False,
        gate_last: bool = True,
    ) -> None:
        super().__init__()
        hidden = hidden_features or in_features
        if hidden % 2:
            raise UsageError(f"A gated perceptron needs an even number of hidden channels, found {hidden}.")
        first_bias, second_bias = bias if isinstance(bias, tuple) else (bias, bias)
        self.channel_dim = 1 if use_conv else -1
        self.gate_last = gate_last
        self.fc1 = pointwise(in_features, hidden, first_bias, use_conv)
        self.act = make_activation(act, inplace=False)  # of a view that autograd guards
        self.drop1 = nn.Dropout(drop)
        self.norm = norm(hidden // 2) if norm else nn.Identity()
        self.fc2 = pointwise(hidden // 2, out_features or in_features, second_bias, use_conv)
        self.drop2 = nn.Dropout(drop)

    def init_gate(self) -> None:
        """Start with an open gate: its weights near zero, its bias one."""
        gate = 1 if self.gate_last else 0
        nn.init.normal_(self.fc1.weight.chunk(2)[gate], std=1e-6)
        if self.fc1.bias is not None:
            nn.init.ones_(self.fc1.bias.chunk(2)[gate])

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.fc1(x).chunk(2, self.channel_dim)
        x = first * self.act(second) if self.gate_last else self.act(first) * second
        return self.drop2(self.fc2(self.norm(self.drop1(x))))


SwiGLUPacked = partial(GluMlp, gate_last=False)
"""DINOv2's gated perceptron, `fc2(act(gate) * value)` with the activation "silu" (arXiv:2304.07193)."""


class SwiGLU(nn.Module):
    """A gated perceptron with two first layers: `fc2(norm(act(fc1_g(x)) * fc1_x(x)))` (arXiv:2002.05202).

    Arguments as for `Mlp`; linear layers only.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        *,
        act: str = "silu",
        norm: NormFactory | None = None,
        bias: bool | tuple[bool, bool] = True,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = hidden_features or in_features
        first_bias, second_bias = bias if isinstance(bias, tuple) else (bias, bias)
        self.fc1_g = nn.Linear(in_features, hidden, bias=first_bias)
        self.fc1_x = nn.Linear(in_features, hidden, bias=first_bias)
        self.act = make_activation(act)
        self.drop1 = nn.Dropout(drop)
        self.norm = norm(hidden) if norm else nn.Identity()
        self.fc2 = nn.Linear(hidden, out_features or in_features, bias=second_bias)
        self.drop2 = nn.Dropout(drop)

    def init_gate(self) -> None:
        """Start with an open gate: its weights near zero, its bias one."""
        nn.init.normal_(self.fc1_g.weight, std=1e-6)
        if self.fc1_g.bias is not None:
            nn.init.ones_(self.fc1_g.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop1(self.act(self.fc1_g(x)) * self.fc1_x(x))
        return self.drop2(self.fc2(self.norm(x)))


class GlobalResponseNormMlp(nn.Module):
    """ConvNeXt V2's (arXiv:2301.00808): `fc2(grn(act(fc1(x))))` of (N, H, W, C), with `use_conv` of (N, C, H, W)."""

    def __init__(self, in_features: int, hidden_features: int, *, act: str = "gelu", use_conv: bool = False) -> None:
        super().__init__()
        self.fc1 = pointwise(in_features, hidden_features, use_conv=use_conv)
        self.act = make_activation(act)
        self.grn = GlobalResponseNorm(hidden_features, channels_last=not use_conv)
        self.fc2 = pointwise(hidden_features, in_features, use_conv=use_conv)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.grn(self.act(self.fc1(x))))
