"""Class attention: a token that stands for the image reads the patches, which stay as they are.

Touvron et al., Going deeper with Image Transformers (arXiv:2103.17239), section 3.
"""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from zoo.models.layers.attention import attend, check_heads, split_heads
from zoo.models.layers.scaled_block import ScaledBlock
from zoo.models.layers.transformer_block import BlockStyle

LAYERS = "q", "k", "v"


class ClassAttention(nn.Module):
    """The first token attends to all: (N, L, C) -> (N, 1, C).

    Args:
        style: of the network's blocks.
        layers: names of the layers for queries, keys and values; of two names the second is for keys and values.
    """

    def __init__(self, style: BlockStyle, layers: tuple[str, ...] = LAYERS) -> None:
        super().__init__()
        channels = style.embed_dim
        check_heads(channels, style.num_heads)
        self.num_heads, self.attn_drop_rate, self.layers = style.num_heads, style.attn_drop, layers
        for name, parts in zip(layers, (1, 4 - len(layers), 1), strict=False):
            self.add_module(name, nn.Linear(channels, parts * channels, bias=style.qkv_bias is True))
        self.proj = nn.Linear(channels, channels)
        self.proj_drop = nn.Dropout(style.proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = (getattr(self, name) for name in self.layers)
        keys, values = (layer(x) for layer in others) if len(others) == 2 else others[0](x).chunk(2, -1)
        q, k, v = (split_heads(part, self.num_heads) for part in (first(x[:, :1]), keys, values))
        return self.proj_drop(self.proj(attend(q, k, v, dropout=self.attn_drop_rate if self.training else 0.0)))


class ClassAttentionBlock(ScaledBlock):
    """Class attention and a perceptron for the first token of (N, L, C), each on a residual branch behind a norm."""

    def __init__(self, style: BlockStyle, scales: tuple[str, ...] = (), layers: tuple[str, ...] = LAYERS) -> None:
        """`scales` are the names of the branches' factors, where they have any; `layers` as for ClassAttention."""
        super().__init__(style, scales)
        self.norm1 = style.make_norm()
        self.attn = ClassAttention(style, layers)
        self.norm2 = style.make_norm()
        self.mlp = style.make_mlp()

    def forward(self, x: Tensor) -> Tensor:
        first = x[:, :1] + self.scaled(0, self.attn(self.norm1(x)))
        first = first + self.scaled(1, self.mlp(self.norm2(first)))
        return torch.cat([first, x[:, 1:]], 1)
