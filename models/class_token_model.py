"""Networks whose class token joins the patches only behind the blocks, to read them by class attention.

Touvron et al., Going deeper with Image Transformers (arXiv:2103.17239), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

from zoo.models.token_model import TokenModel


class ClassTokenModel(TokenModel):
    """Base of families whose blocks carry patches (N, L, C), and whose trunk gives (N, 1 + L, C).

    A family has a parameter `cls_token`, a final `norm` and the class attention blocks at the path `class_blocks`,
    which are registered behind all other blocks.
    """

    num_prefix_tokens = 1
    num_level_prefix_tokens = 0
    class_blocks: str

    def finish(self, x: Tensor) -> Tensor:
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)
        for block in self.get_submodule(self.class_blocks).children():
            x = block(x)
        return self.norm(x)

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] | None = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        kept = super().prune_intermediate_layers(indices, prune_norm, prune_head)
        self.register_parameter("cls_token", None)
        return kept

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.cls_token, std=0.02)
