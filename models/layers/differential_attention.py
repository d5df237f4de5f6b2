"""Attention as the difference of two softmax maps, which cancels what both attend to by chance.

Ye et al., Differential Transformer (arXiv:2410.05258), section 2.1.
"""

from __future__ import annotations

from math import exp

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.layers.attention import check_heads, merge_heads, split_heads
from zoo.models.layers.norm import NormFactory


class DifferentialHeads(nn.Module):
    """What layers with differential attention share: the weight of the second map and the norm of each head.

    `lambda = exp(q1 . k1) - exp(q2 . k2) + lambda_init` with four learned vectors; `lambda_init` grows with the depth
    of the layer in the network, from 0.2 towards 0.8.
    """

    def __init__(self, channels: int, num_heads: int, depth: int, attn_drop: float = 0.0) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        if channels // num_heads % 2:
            raise UsageError(f"Differential attention halves its heads: {channels // num_heads} channels are odd.")
        self.num_heads, self.half_dim = num_heads, channels // num_heads // 2
        self.lambda_init = 0.8 - 0.6 * exp(-0.3 * depth)
        self.attn_drop_rate = attn_drop
        self.lambda_q1 = nn.Parameter(torch.empty(self.half_dim))
        self.lambda_k1 = nn.Parameter(torch.empty(self.half_dim))
        self.lambda_q2 = nn.Parameter(torch.empty(self.half_dim))
        self.lambda_k2 = nn.Parameter(torch.empty(self.half_dim))
        self.sub_norm = nn.RMSNorm(2 * self.half_dim, eps=1e-5)

    def reset_parameters(self) -> None:
        for vector in (self.lambda_q1, self.lambda_k1, self.lambda_q2, self.lambda_k2):
            nn.init.normal_(vector, std=0.1)

    def second_weight(self) -> Tensor:
        """Lambda, a number."""
        first = (self.lambda_q1 * self.lambda_k1).sum().exp()
        return first - (self.lambda_q2 * self.lambda_k2).sum().exp() + self.lambda_init

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries, keys (N, 2 * heads, L, D / 2), values (N, heads, L, D) -> (N, L, heads * D)."""
        rate = self.attn_drop_rate if self.training else 0.0
        first, second = (
            F.scaled_dot_product_attention(q[:, half::2], k[:, half::2], v, dropout_p=rate) for half in (0, 1)
        )
        x = self.sub_norm(first - self.second_weight().to(q.dtype) * second)
        return merge_heads(x * (1 - self.lambda_init))


class DifferentialAttention(DifferentialHeads):
    """Tokens (N, L, C) -> (N, L, C), in place of `attention.Attention`; `depth` counts the layers from 0."""

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        depth: int,
        qkv_bias: bool = True,
        proj_bias: bool = True,
        qk_norm: NormFactory | None = None,
        out_norm: NormFactory | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__(channels, num_heads, depth, attn_drop)
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.q_norm = qk_norm(self.half_dim) if qk_norm else nn.Identity()
        self.k_norm = qk_norm(self.half_dim) if qk_norm else nn.Identity()
        self.norm = out_norm(channels) if out_norm else nn.Identity()
        self.proj = nn.Linear(channels, channels, bias=proj_bias)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, 2)
        q, k = self.q_norm(split_heads(q, 2 * self.num_heads)), self.k_norm(split_heads(k, 2 * self.num_heads))
        x = self.attend(q, k, split_heads(v, self.num_heads))
        return self.proj_drop(self.proj(self.norm(x)))
