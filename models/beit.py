"""BEiT: vision transformers that were trained like BERT, whose attention knows where patches lie to each other.

Bao et al., BEiT (arXiv:2106.08254); Peng et al., BEiT v2 (arXiv:2208.06366).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.beit import BeitSpec
from zoo.models.base import Size
from zoo.models.entrypoints import family_attributes
from zoo.models.eva import Eva
from zoo.models.layers.attention import Attention
from zoo.models.layers.gamma_block import GammaBlock
from zoo.models.layers.prefixed_position_table import PrefixedPositionTable
from zoo.models.layers.transformer_block import BlockStyle

__all__ = ["Beit", "unused_keys"]
__getattr__ = family_attributes("beit")


class BiasedAttention(PrefixedPositionTable, Attention):
    """Attention with a learned bias for each head and offset between two patches of a grid, behind a class token."""

    def __init__(self, channels: int, num_heads: int, *, grid: Size, **options: Any) -> None:
        Attention.__init__(self, channels, num_heads, **options)
        self.make_table(grid, num_heads, num_prefix_tokens=1)

    def reset_parameters(self) -> None:
        Attention.reset_parameters(self)
        nn.init.zeros_(self.relative_position_bias_table)

    def forward(self, x: Tensor, bias: Tensor | None = None, rotary: Tensor | None = None) -> Tensor:
        own = self.position_bias()
        return Attention.forward(self, x, own if bias is None else own + bias, rotary)


class Beit(Eva):
    """EVA's vision transformer with relative position biases in place of other positions."""

    spec: BeitSpec

    def make_block(self, style: BlockStyle, drop_path: float, depth: int) -> nn.Module:
        if not self.spec.relative_bias:
            return super().make_block(style, drop_path, depth)
        style = replace(style, qkv_bias="qv" if self.spec.qkv_bias else False)
        return GammaBlock(style, drop_path, partial(BiasedAttention, grid=self.patch_embed.grid_size))


def unused_keys(keys: Collection[str], model: nn.Module) -> set[str]:  # noqa: ARG001
    """The authors' files keep the constant index of each table."""
    return {key for key in keys if key.endswith("relative_position_index")}
