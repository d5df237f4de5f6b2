"""Attention with a learned bias for every distance between two cells of the map, in place of position embeddings.

Graham et al., LeViT (arXiv:2104.01136), section 4.2. Two forms compute the same: one on tokens (N, cells, C), one on
maps (N, C, H, W).
"""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from zoo.models.layers.relative_position import DistanceBiases, Size


def halved(size: Size) -> Size:
    """The map that every second row and column leave."""
    return (size[0] + 1) // 2, (size[1] + 1) // 2


class Subsample(nn.Module):
    """Every second row and column of a map (`use_conv`), or of tokens that are the cells of one of `size`."""

    def __init__(self, size: Size, *, use_conv: bool) -> None:
        super().__init__()
        self.size, self.use_conv = size, use_conv

    def forward(self, x: Tensor) -> Tensor:
        if self.use_conv:
            return x[:, :, ::2, ::2]
        return x.unflatten(1, self.size)[:, ::2, ::2].flatten(1, 2)


class BiasedAttention(DistanceBiases):
    """What layers with such attention share; they have the projections.

    Args:
        num_heads: of the attention.
        key_dim, value_dim: channels of a head in queries and keys, and in values.
        size: height and width of the map of keys; queries are its cells, or with `stride` 2 every second one.
        use_conv: maps instead of tokens.
    """

    def __init__(
        self, num_heads: int, key_dim: int, value_dim: int, size: Size, *, stride: int = 1, use_conv: bool = False
    ) -> None:
        super().__init__()
        self.use_conv, self.num_heads = use_conv, num_heads
        self.key_dim, self.value_dim = key_dim, value_dim
        self.out_size = size if stride == 1 else halved(size)
        self.make_biases(size, num_heads, stride)

    def heads(self, x: Tensor) -> Tensor:
        """Map or tokens -> (N, heads, channels of a head, cells)."""
        x = x.flatten(2) if self.use_conv else x.transpose(1, 2)
        return x.unflatten(1, (self.num_heads, -1))

    def weigh(self, scores: Tensor) -> Tensor:
        """How much each query (N, heads, queries, keys) reads of each key."""
        return scores.softmax(-1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Each (N, heads, channels of a head, cells) -> map or tokens of the queries' cells."""
        scores = (query.transpose(-2, -1) @ key) * self.key_dim**-0.5 + self.position_bias()
        x = (value @ self.weigh(scores).transpose(-2, -1)).flatten(1, 2)
        return x.unflatten(2, self.out_size) if self.use_conv else x.transpose(1, 2)
