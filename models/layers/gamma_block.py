"""The transformer block whose layer scales are its parameters `gamma_1` and `gamma_2` (arXiv:2106.08254)."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn as nn
from torch import Tensor

from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.scaled_block import ScaledBlock
from zoo.models.layers.transformer_block import BlockStyle


class GammaBlock(ScaledBlock):
    """Tokens (N, L, C): `x + attn(norm1(x)) * gamma_1`, then `x + mlp(norm2(x)) * gamma_2`; drop path on each branch.

    Args:
        style: of the network's blocks; without initial values nothing is scaled.
        drop_path: rate of stochastic depth.
        attn: makes the attention, where it is a kind of its own.
        scale_mlp: whether there is a `gamma_2`.
    """

    def __init__(
        self,
        style: BlockStyle,
        drop_path: float = 0.0,
        attn: Callable[..., nn.Module] | None = None,
        scale_mlp: bool = True,
    ) -> None:
        super().__init__(style, ("gamma_1", "gamma_2")[: 1 + scale_mlp] if style.init_values else ())
        self.norm1 = style.make_norm()
        self.attn = style.make_attention(make=attn)
        self.drop_path1 = make_drop_path(drop_path)
        self.norm2 = style.make_norm()
        self.mlp = style.make_mlp()
        self.drop_path2 = make_drop_path(drop_path)
        self.scale_mlp = scale_mlp

    def forward(self, x: Tensor, *positions: Tensor | None) -> Tensor:
        """As the class says. `positions` go to the attention: a bias and rotary positions."""
        x = x + self.drop_path1(self.scaled(0, self.attn(self.norm1(x), *positions)))
        mixed = self.mlp(self.norm2(x))
        return x + self.drop_path2(self.scaled(1, mixed) if self.scale_mlp else mixed)
