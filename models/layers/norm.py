"""Normalisation layers by the names that specs use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.errors import UsageError

NormFactory = Callable[[int], nn.Module]


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W), each position by itself."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


def _group_norm(channels: int, num_groups: int = 32) -> nn.Module:
    return nn.GroupNorm(num_groups, channels)


NORMS: dict[str, NormFactory] = {
    "batchnorm": nn.BatchNorm2d,
    "groupnorm": _group_norm,
    "groupnorm1": partial(_group_norm, num_groups=1),
}


TOKEN_NORMS: dict[str, Callable[..., nn.Module]] = {"layernorm": nn.LayerNorm, "rmsnorm": nn.RMSNorm}


def token_norm_factory(name: str = "layernorm", eps: float = 1e-6) -> NormFactory:
    """channels -> norm over the last dimension, for tokens (..., C)."""
    if name not in TOKEN_NORMS:
        raise UsageError(f"A norm of tokens must be one of {', '.join(TOKEN_NORMS)}, found {name!r}.")
    return partial(TOKEN_NORMS[name], eps=eps)


def norm_factory(name: str) -> NormFactory:
    """channels -> norm layer."""
    if name not in NORMS:
        raise UsageError(f"A norm must be one of {', '.join(NORMS)}, found {name!r}.")
    return NORMS[name]
