"""Pooling by attention: a learned query reads the tokens.

Zhai et al., Scaling Vision Transformers (arXiv:2106.04560), section 3.3; Lee et al., Set Transformer
(arXiv:1810.00825), section 3.2.
"""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn as nn
from torch import Tensor

from zoo.models.layers.attention import attend, check_heads, split_heads
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.norm import NormFactory
from zoo.models.layers.tracing import listed


class LatentAttentionPool(nn.Module):
    """Tokens (N, L, C) -> (N, C): one learned query attends to them, then `x + mlp(norm(x))`.

    Args:
        channels: of the tokens.
        num_heads: of the attention.
        mlp_ratio: hidden channels of the perceptron by the channels.
        norm: makes the norm before it; None for none.
        act: its activation.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        norm: NormFactory | None = None,
        act: str = "gelu",
    ) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads = num_heads
        self.latent = nn.Parameter(torch.empty(1, 1, channels))
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm = norm(channels) if norm else nn.Identity()
        self.mlp = Mlp(channels, int(channels * mlp_ratio), act=act)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.latent, std=1 / sqrt(self.latent.shape[2]))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """As the class says; a boolean bias (N, 1, 1, L) leaves out the tokens where it is False."""
        q = split_heads(self.q(self.latent.expand(x.shape[0], -1, -1)), self.num_heads)
        k, v = (split_heads(part, self.num_heads) for part in listed(self.kv(x).chunk(2, 2), 2))
        x = self.proj(attend(q, k, v, bias))
        return (x + self.mlp(self.norm(x))).squeeze(1)
