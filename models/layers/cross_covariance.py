"""Attention between channels, and positions of maps of any size that go with it.

El-Nouby et al., Cross-Covariance Image Transformers (arXiv:2106.09681).
"""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.attention import check_heads
from zoo.models.layers.transformer_block import BlockStyle

Size = tuple[int, int]

POSITION_CHANNELS = 32
"""Sines and cosines of a row's or a column's position."""
TEMPERATURE = 10000.0


class FourierPositions(nn.Module):
    """Position embeddings of a map of any size: waves along both axes (arXiv:1706.03762), and a layer over them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.token_projection = nn.Conv2d(2 * POSITION_CHANNELS, channels, 1)

    def forward(self, size: Size) -> Tensor:
        """(1, H, W, C) for this height and width."""
        rows, columns = map(self._waves, size)
        both = [rows[:, :, None].expand(-1, -1, size[1]), columns[:, None].expand(-1, size[0], -1)]
        waves = torch.cat(both).to(self.token_projection.weight.dtype)
        return self.token_projection(waves[None]).permute(0, 2, 3, 1)

    def _waves(self, length: int) -> Tensor:
        """(channels, length), in float32 whatever the model is in: half precision would move positions."""
        device = self.token_projection.weight.device
        positions = torch.arange(1, length + 1, device=device, dtype=torch.float32)
        positions = positions / (positions[-1] + 1e-6) * (2 * math.pi)
        exponents = torch.arange(0, POSITION_CHANNELS, 2, device=device, dtype=torch.float32) / POSITION_CHANNELS
        angles = positions / (TEMPERATURE**exponents)[:, None]
        return torch.stack([angles.sin(), angles.cos()], 1).flatten(0, 1)


class CrossCovarianceAttention(nn.Module):
    """Each channel of a head attends to the others: (N, L, C) -> (N, L, C) (section 3.2)."""

    def __init__(self, style: BlockStyle) -> None:
        super().__init__()
        channels = style.embed_dim
        check_heads(channels, style.num_heads)
        self.num_heads = style.num_heads
        self.temperature = nn.Parameter(torch.empty(style.num_heads, 1, 1))
        self.qkv = nn.Linear(channels, 3 * channels, bias=style.qkv_bias is True)
        self.attn_drop = nn.Dropout(style.attn_drop)
        self.proj = nn.Linear(channels, channels)
        self.proj_drop = nn.Dropout(style.proj_drop)

    def reset_parameters(self) -> None:
        nn.init.ones_(self.temperature)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = F.normalize(q, dim=2), F.normalize(k, dim=2)
        weights = self.attn_drop((q.transpose(-2, -1) @ k * self.temperature).softmax(-1))
        x = v @ weights.transpose(-2, -1)
        return self.proj_drop(self.proj(x.transpose(1, 2).flatten(2)))
