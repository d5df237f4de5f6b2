"""Normalisation layers by the names that specs use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.errors import UsageError

NormFactory = Callable[[int], nn.Module]


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W), each position by itself."""

    def __init__(self, channels: int, eps: float = 1e-6, bias: bool = True) -> None:
        super().__init__(channels, eps=eps, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class SimpleNorm(nn.Module):
    """`x / std(x) * weight` over the last axis: the mean stays; the deviation has Bessel's correction."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.var(-1, keepdim=True) + self.eps).rsqrt() * self.weight

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}"


class SimpleNorm2d(SimpleNorm):
    """The same over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.var(1, keepdim=True) + self.eps).rsqrt() * self.weight.view(-1, 1, 1)


class RmsNorm2d(SimpleNorm):
    """`x / sqrt(mean(x^2)) * weight` over the channels of (N, C, H, W) (Zhang and Sennrich, arXiv:1910.07467)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + self.eps).rsqrt() * self.weight.view(-1, 1, 1)


class RmsNormFloat32(nn.RMSNorm):
    """RMS norm of the last axis in float32, whatever the precision of the tokens."""

    def forward(self, x: Tensor) -> Tensor:
        weight = None if self.weight is None else self.weight.float()
        return F.rms_norm(x.float(), self.normalized_shape, weight, self.eps).to(x.dtype)


def _group_norm(channels: int, num_groups: int = 32, eps: float = 1e-5) -> nn.Module:
    return nn.GroupNorm(num_groups, channels, eps=eps)


NORMS: dict[str, Callable[..., nn.Module]] = {
    "batchnorm": nn.BatchNorm2d,
    "groupnorm": _group_norm,
    "groupnorm1": partial(_group_norm, num_groups=1),
    "layernorm": LayerNorm2d,
    "rmsnorm": RmsNorm2d,
    "simplenorm": SimpleNorm2d,
}
TOKEN_NORMS: dict[str, Callable[..., nn.Module]] = {
    "layernorm": nn.LayerNorm,
    "rmsnorm": nn.RMSNorm,
    "rmsnorm_float32": RmsNormFloat32,
    "simplenorm": SimpleNorm,
}


def token_norm_factory(name: str = "layernorm", eps: float = 1e-6) -> NormFactory:
    """channels -> norm over the last dimension, for tokens (..., C)."""
    if name not in TOKEN_NORMS:
        raise UsageError(f"A norm of tokens must be one of {', '.join(TOKEN_NORMS)}, found {name!r}.")
    return partial(TOKEN_NORMS[name], eps=eps)


def norm_factory(name: str, eps: float | None = None) -> NormFactory:
    """channels -> norm layer for maps (N, C, H, W); `eps` None is the layer's own."""
    if name not in NORMS:
        raise UsageError(f"A norm must be one of {', '.join(NORMS)}, found {name!r}.")
    return NORMS[name] if eps is None else partial(NORMS[name], eps=eps)
