"""Attention whose queries are pooled, so that the map shrinks inside of a block and not between two.

Fan et al., Multiscale Vision Transformers (arXiv:2104.11227), section 3.1; by maxima alone, Ryali et al.
(arXiv:2306.00989), section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import sqrt
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.models.layers.attention import Attention, attend, split_heads
from zoo.models.layers.token_init import init_as_jax
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock

Pool = Callable[[Tensor], Tensor]


class QueryPoolingAttention(Attention):
    """Tokens (N, L, `in_channels`) -> (N, queries, `channels`)."""

    def __init__(self, channels: int, num_heads: int, *, in_channels: int, **options: Any) -> None:
        super().__init__(channels, num_heads, **options)
        self.qkv = nn.Linear(in_channels, 3 * channels)

    def forward(self, x: Tensor, pool: Pool | None = None) -> Tensor:  # type: ignore[override]
        """`pool` makes of what is computed for all tokens (N, L, C) that of the queries (N, queries, C)."""
        q, k, v = self.qkv(x).chunk(3, 2)
        q, k, v = (split_heads(part, self.num_heads) for part in (pool(q) if pool else q, k, v))
        return self.proj(attend(q, k, v))


class QueryPoolingBlock(TransformerBlock):
    """A transformer block that may widen and shrink what it carries; a family says how in `attend` and `pool`.

    Args:
        style: of the stage, with the channels of the output.
        in_channels: of the input.
        pools: whether the block shrinks.
        drop_path: rate of stochastic depth.
    """

    def __init__(self, style: BlockStyle, in_channels: int, *, pools: bool, drop_path: float = 0.0) -> None:
        super().__init__(style, drop_path, attn=partial(QueryPoolingAttention, in_channels=in_channels))
        self.pools, self.widens = pools, in_channels != style.embed_dim
        self.norm1 = style.norm(in_channels)
        self.proj: nn.Module = nn.Linear(in_channels, style.embed_dim) if self.widens else nn.Identity()

    def forward(self, x: Tensor, *_: Tensor | None) -> Tensor:
        normed = self.norm1(x)
        x = (self.shortcut(x, normed) if self.widens else x) + self.drop_path1(self.ls1(self.attend(normed)))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))

    def shortcut(self, x: Tensor, normed: Tensor) -> Tensor:  # noqa: ARG002 - for blocks that read what is not normed
        """What a block that widens adds its branch to."""
        return self.pool(self.proj(normed)) if self.pools else self.proj(normed)

    def pool(self, x: Tensor) -> Tensor:
        """The maximum of the cells that become one."""
        raise NotImplementedError


def init_query_pooling(name: str, module: nn.Module, classifier: str, as_jax: bool = False) -> None:
    """Initial values of networks of such blocks: what ends a branch is the smaller, the deeper the block is.

    Args:
        name: the module's; blocks are `blocks.0`, `blocks.1` and so on.
        module: whose parts have their values already.
        classifier: the name of the layer that starts as zeros.
        as_jax: linear layers and convolutions as jax initialises them, not as vision transformers.
    """
    if isinstance(module, QueryPoolingBlock):
        depth = int(name.rpartition(".")[2])
        for layer in ("attn.proj", "mlp.fc2"):
            module.get_parameter(f"{layer}.weight").div_(sqrt(2 * (depth + 1)))
    elif name == classifier and isinstance(module, nn.Linear):
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
    elif as_jax:
        init_as_jax(name, module)
    elif isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.bias, 0.02)
