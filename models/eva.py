"""EVA and other vision transformers whose patches have rotary positions.

Fang et al., EVA (arXiv:2211.07636) and EVA-02 (arXiv:2303.11331); Sun et al., EVA-CLIP (arXiv:2303.15389); Bolya et
al., Perception Encoder (arXiv:2504.13181); Heo et al., RoPE-ViT (arXiv:2403.13298); Siméoni et al., DINOv3
(arXiv:2508.10104); LingBot-Vision (arXiv:2607.05247); Khirodkar et al., Sapiens2 (arXiv:2604.21681).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import sqrt
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.eva import EvaSpec
from zoo.models.base import Step
from zoo.models.entrypoints import family_attributes
from zoo.models.eva_keys import KEY_LAYOUTS, repair_keys, unused_keys
from zoo.models.layers.attention import Attention, SeparatelyProjectedAttention
from zoo.models.layers.drop import PatchDrop, take_tokens
from zoo.models.layers.gamma_block import GammaBlock
from zoo.models.layers.mlp import GluMlp, SwiGLU
from zoo.models.layers.pool import TokenPool
from zoo.models.layers.rotary_position import AxialRotary, CentredRotary, MixedRotary, RotaryPosition
from zoo.models.layers.transformer_block import BlockStyle
from zoo.models.vision_transformer import VisionTransformer
from zoo.models.vision_transformer_blocks import PostNormBlock

__all__ = ["KEY_LAYOUTS", "Eva", "repair_keys", "unused_keys"]
__getattr__ = family_attributes("eva")

BRANCH_ENDS = re.compile(r"blocks\.(\d+)\.(attn\.proj|mlp\.fc2)")


class Eva(VisionTransformer):
    """A vision transformer whose trunk carries (tokens, table of rotary positions) where it has any of the second."""

    spec: EvaSpec

    def _make_tokens(self, spec: EvaSpec) -> None:  # type: ignore[override]
        super()._make_tokens(spec)
        self.rope: Any = self._make_rotary(spec) if spec.rope else None

    def _make_rotary(self, spec: EvaSpec) -> RotaryPosition:
        options: dict[str, Any] = {
            "temperature": spec.rope_temperature,
            "grid": None if spec.dynamic_img_size else self.patch_embed.grid_size,
            "num_prefix_tokens": self.num_prefix_tokens,
            "rotate_half": spec.rope_rotate_half,
            "columns_first": spec.rope_columns_first,
        }
        head_dim = spec.embed_dim // spec.num_heads
        if spec.rope == "mixed":
            return MixedRotary(head_dim, spec.depth, spec.num_heads, **options)
        if spec.rope == "centred":
            return CentredRotary(head_dim, rescale=spec.rope_rescale, **options)
        return AxialRotary(head_dim, offset=spec.rope_offset, reference=spec.rope_reference, **options)

    def make_block(self, style: BlockStyle, drop_path: float, depth: int) -> nn.Module:
        spec = self.spec
        style = replace(style, qkv_bias="qv" if spec.qkv_bias and not spec.k_bias else spec.qkv_bias)
        attention: Callable[..., nn.Module] = partial(Attention, rotate_half=spec.rope_rotate_half)
        if spec.split_qkv:
            is_full = not spec.num_full_blocks <= depth < spec.depth - spec.num_full_blocks
            heads = None if is_full else spec.num_kv_heads
            attention = partial(SeparatelyProjectedAttention, rotate_half=spec.rope_rotate_half, num_kv_heads=heads)
        if spec.block == "post_norm":
            return PostNormBlock(style, drop_path, depth, attention)
        return GammaBlock(style, drop_path, attention, scale_mlp=not spec.attn_scale_only)

    # ------------------------------------------------------------ forward

    def steps(self) -> Iterator[tuple[str, Step]]:
        if self.rope is None:
            yield from super().steps()
            return
        yield "norm_pre", self._embed_both
        for depth, block in enumerate(self.blocks):
            yield f"blocks.{depth}", partial(self._run_block, block, depth)

    def _embed_both(self, x: Tensor) -> Any:
        """Image -> tokens and their table (2, ..., L, D)."""
        tokens = self.embed_all(x)
        table = self.rope(self.feature_size(x.shape[2], x.shape[3]), tokens)
        rows = self.patch_drop.rows(tokens) if isinstance(self.patch_drop, PatchDrop) else None
        if rows is not None:
            tokens, table = take_tokens(tokens, rows), table[..., rows, :]
            # The samples stand before the heads, of which tables of all have one.
            table = table.transpose(-3, -4) if self.rope.by_block else table.unsqueeze(-3)
        return self.norm_pre(tokens), table

    def _run_block(self, block: nn.Module, depth: int, x: Any) -> Any:
        tokens, table = x
        return block(tokens, None, table[:, depth] if self.rope.by_block else table), table

    def level_state(self, x: Any, level: int) -> Tensor:  # noqa: ARG002 - each level reads the tokens
        return x[0] if isinstance(x, tuple) else x

    def finish(self, x: Any) -> Tensor:
        return self.norm(self.level_state(x, 0))

    # ------------------------------------------------------------ head

    def make_pool(self, pool_type: str) -> TokenPool:
        pool = super().make_pool(pool_type)
        if pool_type == "map":
            pool.first = 0  # attention reads the class token too
        return pool

    # ------------------------------------------------------------ initial values

    def reset_parameters(self) -> None:
        """As the authors' code: positions and tokens alike."""
        for name in ("pos_embed", *self.prefix_names):
            parameter = self._parameters[name]
            if parameter is not None:
                nn.init.trunc_normal_(parameter, std=0.02)

    def init_module(self, name: str, module: nn.Module) -> None:
        """Branches end the smaller the deeper they are; the classifier begins near zero; gates are no exception."""
        if isinstance(module, GluMlp | SwiGLU):
            return
        super().init_module(name, module)
        if not isinstance(module, nn.Linear):
            return
        if end := BRANCH_ENDS.fullmatch(name):
            module.weight.div_(sqrt(2 * (int(end[1]) + 1)))
        elif name in self.classifier_paths:
            module.weight.mul_(0.001)
