"""Pooling of maps by attention (Radford et al., CLIP, arXiv:2103.00020, section 2.4)."""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.layers.attention import attend, check_heads, split_heads
from zoo.models.layers.position_embedding import resample_positions


class AttentionPool2d(nn.Module):
    """(N, C, H, W) -> (N, C): the mean of all positions is the query that attends to itself and to every position.

    The pool type "" gives the map (N, C, H, W) of what each position attends to. Position embeddings are made for a
    grid and resampled where the map is another.

    Args:
        channels: of the map.
        grid: height and width of the map that positions are learned for.
        head_dim: channels of a head.
    """

    feature_multiplier = 1

    def __init__(self, channels: int, grid: tuple[int, int], head_dim: int = 64) -> None:
        super().__init__()
        self.num_heads = channels // head_dim
        check_heads(channels, self.num_heads)
        self.grid = grid
        self.pool_type = "token"
        self.pos_embed = nn.Parameter(torch.empty(grid[0] * grid[1] + 1, channels))
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        deviation = 1 / sqrt(self.pos_embed.shape[1])
        nn.init.trunc_normal_(self.pos_embed, std=deviation)
        for layer in (self.q, self.k, self.v):
            nn.init.trunc_normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def set_pool_type(self, pool_type: str) -> None:
        if pool_type not in ("", "token"):
            raise UsageError(f"Pooling by attention is 'token', or '' for none, found {pool_type!r}.")
        self.pool_type = pool_type

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], 1)
        x = x + resample_positions(self.pos_embed.unsqueeze(0), self.grid, size, num_prefix_tokens=1)
        queries = x[:, :1] if self.pool_type else x[:, 1:]
        q, k, v = (split_heads(part, self.num_heads) for part in (self.q(queries), self.k(x), self.v(x)))
        x = attend(q, k, v)
        return x.squeeze(1) if self.pool_type else x.transpose(1, 2).unflatten(2, size)
