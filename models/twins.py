"""Twins: Chu et al., Revisiting the Design of Spatial Attention in Vision Transformers (arXiv:2104.13840).

Twins-PCPVT is the Pyramid Vision Transformer (arXiv:2102.12122) with conditional positions (arXiv:2102.10882): a
depthwise convolution behind the first block of each stage. Twins-SVT attends within windows and to a smaller map by
turns. Maps are (N, H, W, C) inside the trunk and (N, C, H, W) outside of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.twins import TwinsSpec
from zoo.models.base import Size, Step, in_sequence
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import Attention
from zoo.models.layers.conv_embed import ConvEmbed
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.init import FAN_OUT_TRUNCATED
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.pool import TokenPool
from zoo.models.layers.reduced_attention import ReducedStyle
from zoo.models.layers.transformer_block import TransformerBlock
from zoo.models.layers.window import attend_in_windows

__getattr__ = family_attributes("twins")


class LocalAttention(Attention):
    """Attention within square windows of a map (N, H, W, C), the last of them filled up with zeros."""

    def __init__(self, channels: int, num_heads: int, *, window_size: int, **options: Any) -> None:
        super().__init__(channels, num_heads, **options)
        self.window = window_size, window_size

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return attend_in_windows(x, self.window, super().forward)


class PositionEncoding(nn.Module):
    """A map (N, H, W, C) and its depthwise convolution, which tells positions by the zeros around the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, groups=channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Twins(ConvNet):
    """For each stage patch embedding, blocks and position encoding; norm, pooling, classifier `head`.

    `forward_features` gives the cells of the last map as tokens (N, H * W, C).

    Args of `build`: the size of the images, which changes no weight, as images of any size pass; dropout of the
    embeddings, within the blocks and of the attention weights; stochastic depth of the last block.
    """

    spec: TwinsSpec
    initial_values = FAN_OUT_TRUNCATED

    def build(
        self,
        img_size: int | Size | None = None,  # noqa: ARG002
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        spec = self.spec
        norm = token_norm_factory("layernorm", eps=1e-6)
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.depths)))
        self.pos_drop = nn.Dropout(pos_drop_rate)
        self.patch_embeds, self.blocks, self.pos_block = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        before = self.in_chans
        for index, (channels, depth) in enumerate(zip(spec.embed_dims, spec.depths, strict=True)):
            stride = 2 if index else 4
            self.patch_embeds.append(ConvEmbed(before, channels, stride, stride, of_map=index > 0))
            style = ReducedStyle.of(
                spec,
                embed_dim=channels,
                num_heads=spec.num_heads[index],
                mlp_ratio=spec.mlp_ratios[index],
                reduction=spec.sr_ratios[index],
                norm=norm,
                attn_drop=attn_drop_rate,
                proj_drop=proj_drop_rate,
            )
            local = partial(LocalAttention, window_size=spec.window_sizes[index]) if spec.window_sizes else None
            self.blocks.append(
                nn.ModuleList(
                    TransformerBlock(style, next(rates), attn=None if position % 2 else local)
                    for position in range(depth)
                )
            )
            self.pos_block.append(PositionEncoding(channels))
            last = f"blocks.{index}.{depth - 1}" if depth > 1 else f"pos_block.{index}"
            self.add_level(channels, 4 * 2**index, last, f"block.{index}")
            before = channels
        self.norm = norm(before)
        self.num_features = before

    def steps(self) -> Iterator[tuple[str, Step]]:
        for stage, blocks in enumerate(self.blocks):
            yield f"patch_embeds.{stage}", in_sequence([self.patch_embeds[stage], self.pos_drop])
            for position, block in blocks.named_children():
                yield f"blocks.{stage}.{position}", block
                if position == "0":
                    yield f"pos_block.{stage}", self.pos_block[stage]

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x).flatten(1, 2)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - the map has its own
        return x.permute(0, 3, 1, 2).contiguous()

    def make_pool(self, pool_type: str) -> TokenPool:
        return TokenPool(pool_type)
