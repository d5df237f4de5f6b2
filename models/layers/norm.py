"""Normalisation layers by the names that specs use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn as nn

from zoo.core.errors import UsageError

NormFactory = Callable[[int], nn.Module]


def _group_norm(channels: int, num_groups: int = 32) -> nn.Module:
    return nn.GroupNorm(num_groups, channels)


NORMS: dict[str, NormFactory] = {
    "batchnorm": nn.BatchNorm2d,
    "groupnorm": _group_norm,
    "groupnorm1": partial(_group_norm, num_groups=1),
}


def norm_factory(name: str) -> NormFactory:
    """channels -> norm layer."""
    if name not in NORMS:
        raise UsageError(f"A norm must be one of {', '.join(NORMS)}, found {name!r}.")
    return NORMS[name]
