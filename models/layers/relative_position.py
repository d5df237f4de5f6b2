"""Learned biases of attention for where a key lies relative to its query.

Shaw et al., Self-Attention with Relative Position Representations (arXiv:1803.02155); for the cells of a window, Liu et
al., Swin Transformer (arXiv:2103.14030), section 3.2; by distance alone, Graham et al., LeViT (arXiv:2104.01136),
section 4.2. Windows and maps are (height, width) in cells, which are in the order of rows.
"""

from __future__ import annotations

from math import prod

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.resize.positions import bias_rows
from zoo.models.layers.tracing import leaf_function

Size = tuple[int, int]


def relative_position_index(window: Size) -> Tensor:
    """Row of a bias table for each pair of cells of a window: (cells, cells).

    The table has (2h - 1)(2w - 1) rows, in the order of the vertical, then the horizontal offset.
    """
    # Constants: on the CPU also where the model is on meta.
    rows, columns = (torch.arange(side, device="cpu") for side in window)
    vertical = rows[:, None] - rows + window[0] - 1
    horizontal = columns[:, None] - columns + window[1] - 1
    return _of_pairs(vertical * (2 * window[1] - 1), horizontal)


def distance_indices(size: Size, stride: int = 1) -> Tensor:
    """Which bias belongs to a query and a key: (queries, keys), |dy| * width + |dx|.

    Keys are all cells of a map of `size`, queries those in every `stride`-th row and column.
    """
    rows, columns = (torch.arange(side, device="cpu") for side in size)
    vertical = (rows[::stride, None] - rows).abs()
    horizontal = (columns[::stride, None] - columns).abs()
    return _of_pairs(vertical * size[1], horizontal)


def _of_pairs(vertical: Tensor, horizontal: Tensor) -> Tensor:
    """(rows, rows) and (columns, columns) -> their sum for each pair of cells, (cells, cells)."""
    return (vertical[:, None, :, None] + horizontal[None, :, None, :]).flatten(2).flatten(0, 1)


class RelativePositionTable(nn.Module):
    """What a layer gets that has a bias for each head and offset between two cells of a window."""

    relative_position_index: Tensor

    def make_table(self, window: Size, num_heads: int) -> None:
        self.relative_position_bias_table = nn.Parameter(torch.empty(bias_rows(window), num_heads))
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def position_bias(self) -> Tensor:
        """(heads, cells, cells)."""
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)


class RelativePositionBias(RelativePositionTable):
    """The table as a layer of its own: `forward()` gives the biases (heads, cells, cells)."""

    def __init__(self, window: Size, num_heads: int) -> None:
        super().__init__()
        self.make_table(window, num_heads)

    def forward(self) -> Tensor:
        return self.position_bias()


class DistanceBiases(nn.Module):
    """What a layer gets that has a bias for each head and distance between two cells of a map."""

    attention_bias_idxs: Tensor

    def make_biases(self, size: Size, num_heads: int, stride: int = 1) -> None:
        """For keys from all cells of a map of `size`, queries from every `stride`-th row and column."""
        self.attention_biases = nn.Parameter(torch.empty(num_heads, prod(size)))
        self.register_buffer("attention_bias_idxs", distance_indices(size, stride), persistent=False)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.attention_biases)

    def position_bias(self) -> Tensor:
        """(heads, queries, keys)."""
        return self.attention_biases[:, self.attention_bias_idxs]


def offset_rows(queries: int, keys: int, device: torch.device | str | None = None) -> Tensor:
    """Along one axis, the row of an embedding for each query and key: (queries, keys), from 0 to 2 max - 2.

    Where one of them has fewer cells, its cells are as far apart as those of the other that they stand for.
    """
    query, key = (torch.arange(count, device=device) for count in (queries, keys))
    query_step, key_step = max(keys / queries, 1.0), max(queries / keys, 1.0)
    return (query[:, None] * query_step - (key - (keys - 1)) * key_step).long()


class AxisEmbeddings(nn.Module):
    """What a layer gets that has an embedding for each offset along either axis, which is compared with the query.

    Li et al., MViTv2 (arXiv:2112.01526), section 3.1.
    """

    def make_axes(self, size: Size, head_dim: int) -> None:
        """For maps of keys or queries, whichever is larger, of this size."""
        self.rel_pos_h = nn.Parameter(torch.empty(2 * size[0] - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.empty(2 * size[1] - 1, head_dim))

    def position_bias(self, queries: Tensor, size: Size, keys: Size) -> Tensor:
        """(N, heads, L, D) -> (N, heads, L, cells of the map of keys), for queries that are a map of `size`.

        On maps of other sizes than they are made for, the embeddings are interpolated.
        """
        queries = queries.unflatten(2, size)
        of_rows = torch.einsum("nahwd,hkd->nahwk", queries, _axis(self.rel_pos_h, size[0], keys[0]))
        of_columns = torch.einsum("nahwd,wkd->nahwk", queries, _axis(self.rel_pos_w, size[1], keys[1]))
        return (of_rows[..., None] + of_columns[..., None, :]).flatten(4).flatten(2, 3)


@leaf_function
def _axis(embeddings: Tensor, queries: int, keys: int) -> Tensor:
    """(2n - 1, D) -> (queries, keys, D)"""
    length = 2 * max(queries, keys) - 1
    if len(embeddings) != length:
        embeddings = F.interpolate(embeddings.T[None], size=length, mode="linear")[0].T
    return embeddings[offset_rows(queries, keys, embeddings.device)]
