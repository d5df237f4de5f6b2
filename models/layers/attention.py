"""Multi-head self-attention over tokens.

Vaswani et al., Attention Is All You Need (arXiv:1706.03762), section 3.2.
"""

from __future__ import annotations

from typing import Literal

import torch
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


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """`softmax(q k^T / sqrt(D) + bias) v`: heads (N, heads, L, D) each -> (N, L, heads * D).

    A boolean bias masks where it is False.
    """
    return merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout))


def rotate(x: Tensor, rotary: Tensor) -> Tensor:
    """Rotary positions (arXiv:2104.09864): each two neighbouring channels of (N, heads, L, D) are a point to rotate."""
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * rotary[0] + turned * rotary[1]


class Attention(nn.Module):
    """Tokens (N, L, C) -> (N, L, C): `proj(norm(softmax(q k^T / sqrt(D)) v))`, one layer `qkv` for all three.

    Args:
        channels: of the tokens.
        num_heads: how many heads share them.
        qkv_bias, proj_bias: whether the layers have one; `qkv_bias="qv"` gives queries and values biases outside the
            layer, `q_bias` and `v_bias`, and keys none (arXiv:2106.08254).
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
        qkv_bias: bool | Literal["qv"] = True,
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
        self.q_bias = nn.Parameter(torch.empty(channels)) if qkv_bias == "qv" else None
        self.v_bias = nn.Parameter(torch.empty(channels)) if qkv_bias == "qv" else None
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias is True)
        self.q_norm = qk_norm(self.head_dim) if qk_norm else nn.Identity()
        self.k_norm = qk_norm(self.head_dim) if qk_norm else nn.Identity()
        self.norm = out_norm(channels) if out_norm else nn.Identity()
        self.proj = nn.Linear(channels, channels, bias=proj_bias)
        self.proj_drop = nn.Dropout(proj_drop)

    def reset_parameters(self) -> None:
        for bias in (self.q_bias, self.v_bias):
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self, x: Tensor, bias: Tensor | None = None, rotary: Tensor | None = None) -> Tensor:
        """As the class says.

        Args:
            x: the tokens.
            bias: (heads, L, L) or what broadcasts to (N, heads, L, L), is added to the scores; False in it masks.
            rotary: (2, L, D), the cosines and sines of the angles by which queries and keys are rotated.
        """
        q, k, v = self._project(x).unflatten(2, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        x = attend(q, k, v, bias, self.attn_drop_rate if self.training else 0.0)
        return self.proj_drop(self.proj(self.norm(x)))

    def _project(self, x: Tensor) -> Tensor:
        if self.q_bias is None or self.v_bias is None:
            return self.qkv(x)
        return F.linear(x, self.qkv.weight, torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias]))
