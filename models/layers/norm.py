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


class LayerNorm(nn.LayerNorm):
    """Layer norm over the last axis, with the epsilon of transformers."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)


class LayerNorm2d(LayerNorm):
    """Layer norm over the channels of (N, C, H, W), each position by itself."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class RmsNorm(nn.Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last axis (Zhang and Sennrich, arXiv:1910.07467)."""

    axis = -1

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)

    def second_moment(self, x: Tensor) -> Tensor:
        """What the input is divided by the square root of."""
        return x.square().mean(self.axis, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.axis == -1 else self.weight.view(-1, 1, 1)
        return x * (self.second_moment(x) + self.eps).rsqrt() * weight

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}"


class RmsNorm2d(RmsNorm):
    """The same over the channels of (N, C, H, W)."""

    axis = 1


class SimpleNorm(RmsNorm):
    """Divides by the standard deviation (with Bessel's correction) without taking off the mean."""

    def second_moment(self, x: Tensor) -> Tensor:
        return x.var(self.axis, keepdim=True)


class SimpleNorm2d(SimpleNorm):
    """The same over the channels of (N, C, H, W)."""

    axis = 1


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
CHANNELS_LAST_NORMS: dict[str, Callable[..., nn.Module]] = {
    "layernorm": LayerNorm,
    "rmsnorm": RmsNorm,
    "simplenorm": SimpleNorm,
}


def norm_factory(name: str, *, eps: float | None = None, channels_last: bool = False) -> NormFactory:
    """channels -> norm layer of (N, C, H, W), or with `channels_last` of (..., C); `eps` None is the layer's own."""
    norms = CHANNELS_LAST_NORMS if channels_last else NORMS
    if name not in norms:
        raise UsageError(f"A norm must be one of {', '.join(norms)}, found {name!r}.")
    return norms[name] if eps is None else partial(norms[name], eps=eps)
