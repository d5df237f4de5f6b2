"""Vision transformers whose attention knows where a key lies relative to its query, and no positions else.

The biases are those of Liu et al., Swin Transformer V2 (arXiv:2111.09883), over all patches of an image; some blocks
have their norms at the end of the branches, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.vision_transformer import VisionTransformerSpec
from zoo.core.architectures.configs.vision_transformer_relpos import RelPosSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import Attention
from zoo.models.layers.log_position_bias import LogPositionBias
from zoo.models.layers.prefixed_position_table import PrefixedPositionTable
from zoo.models.layers.transformer_block import BlockStyle
from zoo.models.vision_transformer import VisionTransformer
from zoo.models.vision_transformer_blocks import BLOCKS

__getattr__ = family_attributes("vision_transformer_relpos")


class PositionTable(PrefixedPositionTable):
    """The table as a layer of its own: `forward()` gives the biases (1, heads, tokens, tokens)."""

    def __init__(self, window: Size, num_heads: int, num_prefix_tokens: int) -> None:
        super().__init__()
        self.make_table(window, num_heads, num_prefix_tokens)

    def forward(self) -> Tensor:
        return self.position_bias()


class PositionedAttention(Attention):
    """Attention with biases `rel_pos` of its own."""

    def __init__(self, channels: int, num_heads: int, *, positions: Callable[[], nn.Module], **options: Any) -> None:
        super().__init__(channels, num_heads, **options)
        self.rel_pos = positions()

    def forward(self, x: Tensor, bias: Tensor | None = None, rotary: Tensor | None = None) -> Tensor:
        return super().forward(x, self.rel_pos() if bias is None else bias, rotary)


class VisionTransformerRelPos(VisionTransformer):
    """Patches, perhaps a class token, blocks with relative positions, norm, pooling, classifier `head`."""

    spec: RelPosSpec

    def _make_tokens(self, spec: VisionTransformerSpec) -> None:
        if spec.dynamic_img_size or spec.embed_positions:
            raise UsageError("Relative positions are of images of one size, and there are no others beside them.")
        super()._make_tokens(spec)
        self.shared_rel_pos = self._make_positions() if self.spec.shared_rel_pos else None

    def _make_positions(self) -> nn.Module:
        spec, grid = self.spec, self.patch_embed.grid_size
        if spec.rel_pos_type == "bias":
            return PositionTable(grid, spec.num_heads, self.num_prefix_tokens)
        return LogPositionBias(grid, spec.num_heads, spec.rel_pos_dim, self.num_prefix_tokens)

    def make_block(self, style: BlockStyle, drop_path: float, depth: int) -> nn.Module:
        own = partial(PositionedAttention, positions=self._make_positions)
        block: nn.Module = BLOCKS[self.spec.block](
            style, drop_path, depth, Attention if self.spec.shared_rel_pos else own
        )
        return block

    def steps(self) -> Iterator[tuple[str, Step]]:
        shared = self.shared_rel_pos
        if shared is None:
            yield from super().steps()
            return
        bias: Tensor

        def embed(x: Tensor) -> Tensor:
            nonlocal bias
            bias = shared()
            return self.embed(x)

        def with_bias(block: nn.Module) -> Step:
            return lambda x: block(x, bias)

        yield "norm_pre", embed
        for depth, block in enumerate(self.blocks):
            yield f"blocks.{depth}", with_bias(block)
