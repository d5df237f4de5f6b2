"""DeiT: vision transformers trained with less data, some with a second token that learns from a teacher.

Touvron et al., Training data-efficient image transformers (arXiv:2012.12877) and DeiT III (arXiv:2204.07118).
"""

from __future__ import annotations

from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.distilled import DistilledModel
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.pool import TokenPool
from zoo.models.vision_transformer import VisionTransformer, repair_keys, unused_keys

__all__ = ["VisionTransformer", "VisionTransformerDistilled", "repair_keys", "unused_keys"]
__getattr__ = family_attributes("deit")


class VisionTransformerDistilled(DistilledModel, VisionTransformer):
    """With a distillation token beside the class token and a classifier for each: `head` and `head_dist`."""

    prefix_names = ("cls_token", "dist_token")

    def make_pool(self, pool_type: str) -> TokenPool:
        if pool_type not in ("", "token"):
            raise UsageError(f"A distilled model pools its two tokens: global_pool='token', found {pool_type!r}.")
        return super().make_pool(pool_type)

    def classifier_input(self, x: Tensor) -> Any:
        return [x[:, 0], x[:, 1]] if self.global_pool.pool_type else x

    def embedding(self, pooled: Any) -> Tensor:
        """The mean of both tokens."""
        return pooled if isinstance(pooled, Tensor) else (pooled[0] + pooled[1]) / 2

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.trunc_normal_(self.dist_token, std=0.02)
