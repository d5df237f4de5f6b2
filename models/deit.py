"""DeiT: vision transformers trained with less data, some with a second token that learns from a teacher.

Touvron et al., Training data-efficient image transformers (arXiv:2012.12877) and DeiT III (arXiv:2204.07118).
"""

from __future__ import annotations

import torch.nn as nn

from zoo.models.distilled import DistilledTokens
from zoo.models.entrypoints import family_attributes
from zoo.models.vision_transformer import KEY_LAYOUTS, VisionTransformer, repair_keys, unused_keys

__all__ = ["KEY_LAYOUTS", "VisionTransformer", "VisionTransformerDistilled", "repair_keys", "unused_keys"]
__getattr__ = family_attributes("deit")


class VisionTransformerDistilled(DistilledTokens, VisionTransformer):
    """With a distillation token beside the class token and a classifier for each: `head` and `head_dist`."""

    prefix_names = ("cls_token", "dist_token")

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.trunc_normal_(self.dist_token, std=0.02)
