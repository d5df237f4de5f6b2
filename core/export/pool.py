"""Pool each map into one vector per image and level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.core.export.plan import POOLS, WHOLE_MODEL
from zoo.core.model.features import FeatureNet
from zoo.models.base import ImageModel


def pool_map(values: Tensor, pool: str) -> Tensor:
    """Map (N, C, H, W) or tokens (N, L, C) -> (N, C): the average (summed in float32) or maximum over positions."""
    places = (2, 3) if values.ndim == 4 else (1,)
    return values.mean(places, dtype=torch.float32) if pool == "avg" else values.amax(places)


def pooled_model(model: Callable[[Tensor], Any], pool: str) -> Any:
    """A model that returns (N, C) per level instead of maps; the given model for "none".

    Args:
        model: image batch -> maps (N, C, H, W) or tokens (N, L, C). For "cls" a `FeatureListNet`, for "embedding" and
            "logits" an `ImageModel` with its pooling.
        pool: one of POOLS: average or maximum over height and width; each level's class token within the trunk, before
            any final norm; or the vector that the classifier reads, after final norm, attention pool and hidden layers,
            or that it gives.

    Raises:
        UsageError: an unknown pool, or one that the model does not have.
    """
    if pool not in POOLS:
        raise UsageError(f"A pool is one of {', '.join(POOLS)}, not {pool!r}.")
    if pool == "none":
        return model
    if pool == "cls" and getattr(model, "cls_token", None) is None:
        raise UsageError(
            "The pool 'cls' is the class token, and this model has none.", hint="Choose --pool avg or --pool max."
        )
    if pool in WHOLE_MODEL:
        if not isinstance(model, ImageModel) or isinstance(model, FeatureNet) or not model.global_pool.pool_type:
            raise UsageError(
                f"The pool {pool!r} needs one of zoo's models with its pooling, not a model of feature maps alone."
            )
        if pool == "logits" and not model.num_classes:
            raise UsageError("The logits are what the classifier gives, and this model has none.")
        return LogitsModel(model) if pool == "logits" else EmbeddingModel(model)
    return PooledFeatures(model, pool)


class EmbeddingModel(nn.Module):
    """A model that returns one vector per image, (N, C), as if it were built with `num_classes=0`."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.model.pool(self.model.forward_features(x))]


class LogitsModel(nn.Module):
    """A model that returns its logits (N, num_classes) as the only level."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.model(x)]


class PooledFeatures(nn.Module):
    """A feature model followed by pooling; its levels are the model's."""

    def __init__(self, model: Callable[[Tensor], Sequence[Tensor]], pool: str) -> None:
        super().__init__()
        self.model = model
        self.pool = pool
        if hasattr(model, "feature_info"):
            self.feature_info = model.feature_info

    def forward(self, x: Tensor) -> list[Tensor]:
        if self.pool == "cls":
            return self._class_tokens(x)
        return [pool_map(values, self.pool) for values in self.model(x)]

    def _class_tokens(self, x: Tensor) -> list[Tensor]:
        net: Any = self.model
        found = net.forward_intermediates(
            x, net.feature_info.out_indices, stop_early=True, intermediates_only=True, return_prefix_tokens=True
        )
        return [prefix[:, 0] for _, prefix in found]  # the class token comes first in every family
