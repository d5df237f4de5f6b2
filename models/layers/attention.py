"""Multi-head self-attention over tokens.

Vaswani et al., Attention Is All You Need (arXiv:1706.03762), section 3.2.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.layers.norm import NormFactory
from zoo.models.layers.tracing import leaf_function

QkvBias = bool | Literal["qv"]


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


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
    shared: int = 1,
) -> Tensor:
    """`softmax(q k^T / sqrt(D) + bias) v`: heads (N, heads, L, D) each -> (N, L, heads * D).

    A boolean bias masks where it is False. Where keys and values have fewer heads, each is `shared` by so many of the
    queries. `scale` stands for `1 / sqrt(D)`.
    """
    if shared > 1:
        k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
    if bias is not None:
        bias = for_all_images(bias)
    return merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=scale))


@leaf_function
def for_all_images(bias: Tensor) -> Tensor:
    """A bias with four axes, of which the first stands for the images.

    With three the CPU's kernel takes several times as long.
    """
    return bias.unsqueeze(0) if bias.ndim == 3 else bias


def rotate(x: Tensor, rotary: Tensor, half: bool = False) -> Tensor:
    """Rotary positions (arXiv:2104.09864): the channels of (N, heads, L, D) are points to rotate, two to a point.

    Args:
        x: queries or keys.
        rotary: (2, L, D) or what broadcasts to (2, N, heads, L, D): cosines and sines of the angles.
        half: whether a point is one channel of the first and one of the second half; else it is two neighbours.
    """
    if half:
        first, second = x.chunk(2, -1)
        turned = torch.cat([-second, first], -1)
    else:
        turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    # The angles may be in a higher precision than the tokens.
    return (x * rotary[0] + turned * rotary[1]).to(x.dtype)


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
        rotate_half: how rotary positions pair the channels of a head, see `rotate`.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        qkv_bias: QkvBias = True,
        proj_bias: bool = True,
        qk_norm: NormFactory | None = None,
        out_norm: NormFactory | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        rotate_half: bool = False,
    ) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, num_heads, channels // num_heads
        self.attn_drop_rate, self.rotate_half = attn_drop, rotate_half
        self._make_projections(channels, qkv_bias)
        self.q_norm = qk_norm(self.head_dim) if qk_norm else nn.Identity()
        self.k_norm = qk_norm(self.head_dim) if qk_norm else nn.Identity()
        self.norm = out_norm(channels) if out_norm else nn.Identity()
        self.proj = nn.Linear(channels, channels, bias=proj_bias)
        self.proj_drop = nn.Dropout(proj_drop)

    def _make_projections(self, channels: int, bias: QkvBias) -> None:
        self.q_bias = nn.Parameter(torch.empty(channels)) if bias == "qv" else None
        self.v_bias = nn.Parameter(torch.empty(channels)) if bias == "qv" else None
        self.qkv = nn.Linear(channels, 3 * channels, bias=bias is True)

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
        q, k, v = self._project(x)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = rotate(q, rotary, self.rotate_half), rotate(k, rotary, self.rotate_half)
        dropout, shared = self.attn_drop_rate if self.training else 0.0, self.num_heads // self.num_kv_heads
        x = attend(q, k, v, bias, dropout, shared=shared)
        return self.proj_drop(self.proj(self.norm(x)))

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (N, heads, L, D)."""
        x = self.qkv(x)
        if self.q_bias is not None and self.v_bias is not None:
            x += torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = x.unflatten(2, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v


class SeparatelyProjectedAttention(Attention):
    """The same with a layer for each: `q_proj`, `k_proj`, `v_proj`. With `qkv_bias="qv"` that of keys has no bias.

    `num_kv_heads` heads of keys and values, by default all, are each shared by as many heads of queries (Ainslie et
    al., GQA, arXiv:2305.13245).
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        qkv_bias: QkvBias = True,
        **options: Any,
    ) -> None:
        super().__init__(channels, num_heads, qkv_bias=qkv_bias, **options)
        self.num_kv_heads = num_kv_heads or num_heads
        check_heads(num_heads, self.num_kv_heads)
        width = self.num_kv_heads * self.head_dim
        self.q_proj = nn.Linear(channels, channels, bias=bool(qkv_bias))
        self.k_proj = nn.Linear(channels, width, bias=qkv_bias is True)
        self.v_proj = nn.Linear(channels, width, bias=bool(qkv_bias))

    def _make_projections(self, channels: int, bias: QkvBias) -> None:
        """None for all three."""

    def reset_parameters(self) -> None:
        """The layers have their own."""

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q = split_heads(self.q_proj(x), self.num_heads)
        return q, split_heads(self.k_proj(x), self.num_kv_heads), split_heads(self.v_proj(x), self.num_kv_heads)
