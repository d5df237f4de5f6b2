"""NesT: Zhang et al., Nested Hierarchical Transformer (arXiv:2105.12723).

The map of patches is cut into blocks of cells, within which transformer layers run. A convolution and a pooling carry
information from block to block where the map is halved for the next level. Maps are (N, H, W, C) inside the trunk and
(N, C, H, W) outside of it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.nest import NestSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import Attention
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.init import TRUNCATED_NORMAL
from zoo.models.layers.max_pool_same import MaxPool2dSame
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import PatchEmbed, as_pair
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock
from zoo.models.layers.window import merge_windows, partition_windows

__getattr__ = family_attributes("nest")

layer_norm = token_norm_factory("layernorm", eps=1e-6)


class HeadsByTurns(nn.Module):
    """The channels that heads found, (..., heads * D), as (..., D * heads): the first of each head, then the second."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-1, -2).flatten(-2)


class BlockAttention(Attention):
    """Cells (N, blocks, cells, C) attend to those of their block."""

    def __init__(self, channels: int, num_heads: int, **options: Any) -> None:
        super().__init__(channels, num_heads, **options)
        self.norm = HeadsByTurns(num_heads)  # so the published `proj` reads them

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x.flatten(0, 1)).unflatten(0, (-1, x.shape[1]))


class BlockAggregation(nn.Module):
    """Map (N, H, W, C) -> (N, H / 2, W / 2, D): convolution, norm, maximum."""

    def __init__(self, in_channels: int, channels: int, pad_type: str) -> None:
        super().__init__()
        self.conv = make_conv(in_channels, channels, 3, pad_type=pad_type, bias=True)
        self.norm = layer_norm(channels)
        self.pool = MaxPool2dSame(3, 2) if pad_type == "same" else nn.MaxPool2d(3, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return self.pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class NestLevel(nn.Module):
    """Aggregation to half the map but in the first level, positions, transformer layers within blocks.

    Args:
        aggregation: makes the map of this level, (N, H, W, C).
        layers: of the level.
        across: blocks along a side of the map.
        side: cells along a side of a block.
    """

    def __init__(
        self, aggregation: nn.Module, layers: list[TransformerBlock], channels: int, across: int, side: int
    ) -> None:
        super().__init__()
        self.block, self.size = as_pair(side), as_pair(across * side)
        self.pos_embed = nn.Parameter(torch.empty(1, across**2, side**2, channels))
        self.pool = aggregation
        self.transformer_encoder = nn.Sequential(*layers)

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = partition_windows(self.pool(x), self.block).unflatten(0, (-1, self.pos_embed.shape[1]))
        x = self.transformer_encoder(x + self.pos_embed)
        return merge_windows(x.flatten(0, 1), self.block, self.size)


class Nest(ConvNet):
    """Patch embedding, levels, norm, pooling, classifier `head`.

    Args of `build`: dropout within the layers and of the attention weights, stochastic depth of the last layer.
    """

    spec: NestSpec
    initial_values = TRUNCATED_NORMAL
    trunk = ("patch_embed", "levels.*")

    def build(self, proj_drop_rate: float = 0.0, attn_drop_rate: float = 0.0, drop_path_rate: float = 0.5) -> None:
        spec = self.spec
        self.img_size = height, width = as_pair(spec.img_size)
        across = 2 ** (len(spec.depths) - 1)
        if height != width or height % (spec.patch_size * across):
            multiple = spec.patch_size * across
            raise UsageError(f"Images must be squares with a side of a multiple of {multiple}, found {spec.img_size}.")
        side = height // spec.patch_size // across
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.depths)))
        self.patch_embed = PatchEmbed(height, spec.patch_size, self.in_chans, spec.embed_dims[0], layout="NHWC")
        self.levels = nn.Sequential()
        aggregation: nn.Module = nn.Identity()
        for index, (channels, depth) in enumerate(zip(spec.embed_dims, spec.depths, strict=True)):
            style = BlockStyle.of(
                spec,
                embed_dim=channels,
                num_heads=spec.num_heads[index],
                norm=layer_norm,
                attn_drop=attn_drop_rate,
                proj_drop=proj_drop_rate,
            )
            if index:
                aggregation = BlockAggregation(spec.embed_dims[index - 1], channels, spec.pad_type)
            layers = [TransformerBlock(style, next(rates), attn=BlockAttention) for _ in range(depth)]
            self.levels.append(NestLevel(aggregation, layers, channels, across >> index, side))
            self.add_level(channels, spec.patch_size * 2**index, f"levels.{index}")
        self.num_features = spec.embed_dims[-1]
        self.norm = layer_norm(self.num_features)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x).permute(0, 3, 1, 2)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - there is one size
        return x.permute(0, 3, 1, 2).contiguous()
