"""The transformer block: attention and a perceptron, each on a residual branch behind a norm.

Vaswani et al. (arXiv:1706.03762), section 3.1, with the norms first as in arXiv:2010.11929, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.layers.attention import Attention, QkvBias
from zoo.models.layers.differential_attention import DifferentialAttention
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.layer_scale import make_layer_scale
from zoo.models.layers.mlp import Mlp, SwiGLU, SwiGLUPacked
from zoo.models.layers.norm import NormFactory

MLPS: dict[str, Callable[..., nn.Module]] = {
    "mlp": Mlp,
    "swiglu": SwiGLU,
    "swiglu_packed": SwiGLUPacked,
}


@dataclass(frozen=True, kw_only=True)
class BlockStyle:
    """What all blocks of a network have in common, in the words of the specs.

    `qk_norm`, `scale_attn_norm` and `scale_mlp_norm` put a norm on queries and keys, behind the heads and before the
    perceptron's second layer; `init_values` is the initial layer scale, 0 for none. `mlp_layer` is a name of MLPS,
    `attn_layer` is "" or "diff".
    """

    embed_dim: int
    num_heads: int
    norm: NormFactory
    mlp_ratio: float = 4.0
    qkv_bias: QkvBias = True
    proj_bias: bool = True
    qk_norm: bool = False
    scale_attn_norm: bool = False
    scale_mlp_norm: bool = False
    init_values: float = 0.0
    act_layer: str = "gelu"
    mlp_layer: str = "mlp"
    attn_layer: str = ""
    attn_drop: float = 0.0
    proj_drop: float = 0.0

    @classmethod
    def of(cls, spec: Any, **given: Any) -> BlockStyle:
        """What is given, and of the rest what the spec has under the same name."""
        found = {field.name: getattr(spec, field.name) for field in fields(cls) if hasattr(spec, field.name)}
        return cls(**found | given)

    @property
    def hidden_channels(self) -> int:
        return int(self.embed_dim * self.mlp_ratio)

    def make_norm(self) -> nn.Module:
        return self.norm(self.embed_dim)

    def make_attention(self, depth: int = 0, make: Callable[..., nn.Module] | None = None) -> nn.Module:
        """Attention for the block number `depth`, from 0; `make` is called where a family has a kind of its own."""
        if self.attn_layer not in ("", "diff"):
            raise UsageError(f"attn_layer must be '' or 'diff', found {self.attn_layer!r}.")
        if make is None:
            make = partial(DifferentialAttention, depth=depth) if self.attn_layer else Attention
        return make(
            self.embed_dim,
            self.num_heads,
            qkv_bias=self.qkv_bias,
            proj_bias=self.proj_bias,
            qk_norm=self.norm if self.qk_norm else None,
            out_norm=self.norm if self.scale_attn_norm else None,
            attn_drop=self.attn_drop,
            proj_drop=self.proj_drop,
        )

    def make_mlp(self) -> nn.Module:
        if self.mlp_layer not in MLPS:
            raise UsageError(f"mlp_layer must be one of {', '.join(MLPS)}, found {self.mlp_layer!r}.")
        return MLPS[self.mlp_layer](
            self.embed_dim,
            self.hidden_channels,
            act=self.act_layer,
            norm=self.norm if self.scale_mlp_norm else None,
            bias=self.proj_bias,
            drop=self.proj_drop,
        )

    def make_scale(self) -> nn.Module:
        return make_layer_scale(self.embed_dim, self.init_values)


class TransformerBlock(nn.Module):
    """Tokens (N, L, C): `x + attn(norm1(x))`, then `x + mlp(norm2(x))`; layer scale and drop path on each branch."""

    def __init__(
        self, style: BlockStyle, drop_path: float = 0.0, depth: int = 0, attn: Callable[..., nn.Module] | None = None
    ) -> None:
        super().__init__()
        self.norm1 = style.make_norm()
        self.attn = style.make_attention(depth, attn)
        self.ls1 = style.make_scale()
        self.drop_path1 = make_drop_path(drop_path)
        self.norm2 = style.make_norm()
        self.mlp = style.make_mlp()
        self.ls2 = style.make_scale()
        self.drop_path2 = make_drop_path(drop_path)

    def forward(self, x: Tensor, *positions: Tensor | None) -> Tensor:
        """As the class says. `positions` go to the attention: a bias and rotary positions, if it takes them."""
        x = x + self.drop_path1(self.ls1(self.attend(self.norm1(x), *positions)))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))

    def attend(self, x: Tensor, *positions: Tensor | None) -> Tensor:
        """What stands on the first branch, for blocks that have more there than attention."""
        return self.attn(x, *positions)
