"""Multi-head self-attention over tokens.

Vaswani et al., Attention Is All You Need (arXiv:1706.03762), section 3.2.
"""

from __future__ import annotations

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.layers.norm import NormFactory


def check_heads(channels: int, num_heads: int) -> None:
    """Raises UsageError where the channels do not divide among the heads."""
    if num_heads < 1 or channels % num_heads:
        raise UsageError(f"{channels} channels cannot be divided among {num_heads} heads.")


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(N, L, heads * D) -> (N, heads, L, D)."""
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(N, heads, L, D) -> (N, L, heads * D)."""
    return x.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Tokens (N, L, C) -> (N, L, C): `proj(norm(softmax(q k^T / sqrt(D)) v))`, one layer `qkv` for all three.

    Args:
        channels: of the tokens.
        num_heads: how many heads share them.
        qkv_bias, proj_bias: whether the layers have one.
        qk_norm: makes the norms of queries and keys, each head by itself (arXiv:2302.05442); None for none.
        out_norm: makes the norm of what the heads found (arXiv:2210.06423); None for none.
        attn_drop: dropout rate of the attention weights.
        proj_drop: dropout rate of the result.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        qkv_bias: bool = True,
        proj_bias: bool = True,
        qk_norm: NormFactory | None = None,
        out_norm: NormFactory | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads, self.head_dim = num_heads, channels // num_heads
        self.attn_drop_rate = attn_drop
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.q_norm = qk_norm(self.head_dim) if qk_norm else nn.Identity()
        self.k_norm = qk_norm(self.head_dim) if qk_norm else nn.Identity()
        self.norm = out_norm(channels) if out_norm else nn.Identity()
        self.proj = nn.Linear(channels, channels, bias=proj_bias)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """`bias`, (heads, L, L) or what broadcasts to (N, heads, L, L), is added to the scores; False in it masks."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4).unbind(0)
        dropped = self.attn_drop_rate if self.training else 0.0
        x = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v, attn_mask=bias, dropout_p=dropped)
        return self.proj_drop(self.proj(self.norm(merge_heads(x))))
