"""DeiT: vision transformers trained with less data, some with a second token that learns from a teacher.

Touvron et al., Training data-efficient image transformers (arXiv:2012.12877) and DeiT III (arXiv:2204.07118).
"""

from __future__ import annotations

from typing import Any

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.core.registry import family_attributes
from zoo.models.layers.pool import TokenPool
from zoo.models.vision_transformer import VisionTransformer, repair_keys, unused_keys

__all__ = ["VisionTransformer", "VisionTransformerDistilled", "repair_keys", "unused_keys"]
__getattr__ = family_attributes("deit")


class VisionTransformerDistilled(VisionTransformer):
    """With a distillation token beside the class token and a classifier for each: `head` and `head_dist`.

    The prediction is the mean of both. With `set_distilled_training` a model in training returns the pair, for a loss
    against the labels and one against the teacher (arXiv:2012.12877, section 4).
    """

    prefix_names = ("cls_token", "dist_token")
    distilled_training = False

    def make_pool(self, pool_type: str) -> TokenPool:
        if pool_type not in ("", "token"):
            raise UsageError(f"A distilled model pools its two tokens: global_pool='token', found {pool_type!r}.")
        return super().make_pool(pool_type)

    def set_distilled_training(self, enable: bool = True) -> None:
        """Whether a model in training returns the predictions of both classifiers."""
        self.distilled_training = enable

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Any:
        """The mean of what both tokens say, or in distilled training the pair."""
        if not self.global_pool.pool_type:
            return x
        tokens = [F.dropout(token, self.drop_rate, self.training) for token in (x[:, 0], x[:, 1])]
        if pre_logits:
            return (tokens[0] + tokens[1]) / 2
        logits, distilled = self.head(tokens[0]), self.head_dist(tokens[1])
        if self.distilled_training and self.training:
            return logits, distilled
        return (logits + distilled) / 2

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.trunc_normal_(self.dist_token, std=0.02)
