"""Attention whose keys and values come from a smaller map than its queries.

Wang et al., Pyramid Vision Transformer (arXiv:2102.12122), section 3.3, and with pooling PVT v2 (arXiv:2106.13797),
section 3.2. Maps are (N, H, W, C).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn as nn
from torch import Tensor

from zoo.models.layers.attention import attend, check_heads, split_heads
from zoo.models.layers.transformer_block import BlockStyle


class ReducedAttention(nn.Module):
    """Maps (N, H, W, C) -> the same: every cell attends to the cells of a smaller map.

    Args:
        channels: of the map.
        num_heads: how many heads share them.
        reduction: how many times smaller the map of keys and values is, by a convolution on patches; 1 for not.
        pooled_side: or its side, whatever that of the map: the average, a pointwise convolution, an activation. 0 for
            a reduction by convolution.
        qkv_bias: whether queries, keys and values have one.
        attn_drop, proj_drop: dropout rates of the attention weights and of the result.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        reduction: int = 1,
        pooled_side: int = 0,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads, self.attn_drop_rate = num_heads, attn_drop
        self.q = nn.Linear(channels, channels, bias=qkv_bias)
        self.kv = nn.Linear(channels, 2 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.proj_drop = nn.Dropout(proj_drop)
        kernel = 1 if pooled_side else reduction
        self.reduces = bool(pooled_side) or reduction > 1
        self.pool = nn.AdaptiveAvgPool2d(pooled_side) if pooled_side else nn.Identity()
        self.sr = nn.Conv2d(channels, channels, kernel, kernel) if self.reduces else nn.Identity()
        self.norm = nn.LayerNorm(channels) if self.reduces else nn.Identity()
        self.act = nn.GELU() if pooled_side else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[1], x.shape[2])
        q = self.q(x).flatten(1, 2)
        if self.reduces:
            x = self.sr(self.pool(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
            x = self.act(self.norm(x))
        k, v = self.kv(x).flatten(1, 2).chunk(2, 2)
        q, k, v = (split_heads(part, self.num_heads) for part in (q, k, v))
        x = attend(q, k, v, dropout=self.attn_drop_rate if self.training else 0.0)
        return self.proj_drop(self.proj(x)).unflatten(1, size)


@dataclass(frozen=True, kw_only=True)
class ReducedStyle(BlockStyle):
    """Blocks on maps (N, H, W, C) with such attention, whose `reduction` and `pooled_side` are given."""

    reduction: int = 1
    pooled_side: int = 0

    def make_attention(self, depth: int = 0, make: Callable[..., nn.Module] | None = None) -> nn.Module:
        if make is not None:
            return super().make_attention(depth, make)
        return ReducedAttention(
            self.embed_dim,
            self.num_heads,
            reduction=self.reduction,
            pooled_side=self.pooled_side,
            qkv_bias=self.qkv_bias is True,
            attn_drop=self.attn_drop,
            proj_drop=self.proj_drop,
        )
