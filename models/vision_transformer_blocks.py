"""Blocks of vision transformers that differ from the usual one, and their table."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.layers.activation import make_activation
from zoo.models.layers.attention import attend, check_heads, split_heads
from zoo.models.layers.differential_attention import DifferentialHeads
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock


class PostNormBlock(nn.Module):
    """The norms at the end of the branches (arXiv:2111.09883, section 3.2), their weights small at first."""

    def __init__(
        self, style: BlockStyle, drop_path: float = 0.0, depth: int = 0, attn: Callable[..., nn.Module] | None = None
    ) -> None:
        super().__init__()
        self.initial = style.init_values or 1.0
        self.attn = style.make_attention(depth, attn)
        self.norm1 = style.make_norm()
        self.drop_path1 = make_drop_path(drop_path)
        self.mlp = style.make_mlp()
        self.norm2 = style.make_norm()
        self.drop_path2 = make_drop_path(drop_path)

    def reset_parameters(self) -> None:
        for norm in (self.norm1, self.norm2):
            nn.init.constant_(norm.get_parameter("weight"), self.initial)

    def forward(self, x: Tensor, *positions: Tensor | None) -> Tensor:
        x = x + self.drop_path1(self.norm1(self.attn(x, *positions)))
        return x + self.drop_path2(self.norm2(self.mlp(x)))


class ParallelBranchesBlock(nn.Module):
    """Two attentions side by side, then two perceptrons.

    Touvron et al., Three things everyone should know about Vision Transformers (arXiv:2203.09795), section 3.
    """

    num_parallel = 2

    def __init__(self, style: BlockStyle, drop_path: float = 0.0, depth: int = 0) -> None:
        super().__init__()

        def branch(name: str, layer: nn.Module) -> nn.Sequential:
            parts = ("norm", style.make_norm()), (name, layer), ("ls", style.make_scale())
            return nn.Sequential(OrderedDict([*parts, ("drop_path", make_drop_path(drop_path))]))

        count = range(self.num_parallel)
        self.attns = nn.ModuleList([branch("attn", style.make_attention(depth)) for _ in count])
        self.ffns = nn.ModuleList([branch("mlp", style.make_mlp()) for _ in count])

    def forward(self, x: Tensor) -> Tensor:
        x = x + sum(attn(x) for attn in self.attns)
        return x + sum(ffn(x) for ffn in self.ffns)


class ParallelInput(nn.Module):
    """What parallel blocks share: one projection behind one norm gives the perceptron's hidden channels and queries,
    keys and values. Where it has no bias, the hidden channels have one of their own.
    """

    def _make_input(self, style: BlockStyle, head_dim: int) -> None:
        if style.scale_attn_norm or style.scale_mlp_norm:
            raise UsageError("A parallel block has no norms inside its branches.")
        channels, hidden = style.embed_dim, style.hidden_channels
        self.widths = (hidden, channels, channels, channels)
        self.in_norm = style.make_norm()
        self.in_proj = nn.Linear(channels, sum(self.widths), bias=bool(style.qkv_bias))
        self.mlp_bias = None if style.qkv_bias else nn.Parameter(torch.empty(hidden))
        self.q_norm = style.norm(head_dim) if style.qk_norm else nn.Identity()
        self.k_norm = style.norm(head_dim) if style.qk_norm else nn.Identity()
        self.mlp_drop = nn.Dropout(style.proj_drop)
        self.mlp_act = make_activation(style.act_layer, inplace=False)

    def reset_parameters(self) -> None:
        if self.mlp_bias is not None:
            nn.init.zeros_(self.mlp_bias)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens (N, L, C) -> activated hidden channels; queries, keys, values (N, L, C)."""
        hidden, q, k, v = self.in_proj(self.in_norm(x)).split(self.widths, 2)
        if self.mlp_bias is not None:
            hidden = hidden + self.mlp_bias
        return self.mlp_drop(self.mlp_act(hidden)), q, k, v


class ParallelBlock(ParallelInput):
    """Attention and perceptron side by side: `x + attn_out(attention) + mlp_out(hidden)`.

    Dehghani et al., Scaling Vision Transformers to 22 Billion Parameters (arXiv:2302.05442), section 2.1.
    """

    def __init__(self, style: BlockStyle, drop_path: float = 0.0, depth: int = 0) -> None:  # noqa: ARG002
        super().__init__()
        check_heads(style.embed_dim, style.num_heads)
        self.num_heads, self.attn_drop_rate = style.num_heads, style.attn_drop
        self._make_input(style, style.embed_dim // style.num_heads)
        self.attn_out_proj = nn.Linear(style.embed_dim, style.embed_dim, bias=style.proj_bias)
        self.mlp_out_proj = nn.Linear(style.hidden_channels, style.embed_dim, bias=style.proj_bias)
        self.ls = style.make_scale()
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        hidden, *parts = self._project(x)
        q, k, v = (split_heads(part, self.num_heads) for part in parts)
        attended = attend(self.q_norm(q), self.k_norm(k), v, dropout=self.attn_drop_rate if self.training else 0.0)
        y = self.attn_out_proj(attended) + self.mlp_out_proj(hidden)
        return x + self.drop_path(self.ls(y))


class DifferentialParallelBlock(ParallelInput, DifferentialHeads):
    """A parallel block with differential attention and one projection `out_proj` of both branches."""

    def __init__(self, style: BlockStyle, drop_path: float = 0.0, depth: int = 0) -> None:
        DifferentialHeads.__init__(self, style.embed_dim, style.num_heads, depth, style.attn_drop)
        self._make_input(style, self.half_dim)
        self.out_proj = nn.Linear(style.embed_dim + style.hidden_channels, style.embed_dim, bias=style.proj_bias)
        self.ls = style.make_scale()
        self.drop_path = make_drop_path(drop_path)

    def reset_parameters(self) -> None:
        ParallelInput.reset_parameters(self)
        DifferentialHeads.reset_parameters(self)

    def forward(self, x: Tensor) -> Tensor:
        hidden, q, k, v = self._project(x)
        q, k = (split_heads(part, 2 * self.num_heads) for part in (q, k))
        attended = self.attend(self.q_norm(q), self.k_norm(k), split_heads(v, self.num_heads))
        return x + self.drop_path(self.ls(self.out_proj(torch.cat([attended, hidden], 2))))


BLOCKS = {
    "pre_norm": TransformerBlock,
    "post_norm": PostNormBlock,
    "parallel": ParallelBlock,
    "parallel_diff": DifferentialParallelBlock,
    "parallel_branches": ParallelBranchesBlock,
}
