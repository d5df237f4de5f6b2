"""MobileViT: inverted residuals, and transformers over the cells that lie at one place of each patch of a map.

Mehta and Rastegari, MobileViT (arXiv:2110.02178) and Separable Self-attention for Mobile Vision Transformers, which is
MobileViTv2 (arXiv:2206.02680).
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.byobnet import Blocks
from zoo.core.architectures.configs.mobilevit import TransformerBlocks
from zoo.models.byobnet import ByobNet
from zoo.models.byobnet_blocks import BlockStyle
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.mbconv import groups_of
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.norm import norm_factory, token_norm_factory
from zoo.models.layers.stages import BlockPlace
from zoo.models.layers.tracing import leaf_function
from zoo.models.layers.transformer_block import BlockStyle as TransformerStyle
from zoo.models.layers.transformer_block import TransformerBlock
from zoo.models.layers.window import merge_grid, padded_size, partition_grid

__getattr__ = family_attributes("mobilevit")

PATCH = 2
NUM_HEADS = 4


def divided_size(x: Tensor) -> tuple[int, int]:
    """(height, width) that patches divide, at least those of the map (N, C, H, W)."""
    return padded_size((x.shape[2], x.shape[3]), (PATCH, PATCH))


@leaf_function
def fit(x: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """The map (N, C, H, W) resized to `size`, unless it has that size."""
    if (x.shape[2], x.shape[3]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


class MobileVitBlock(nn.Module):
    """A convolution, transformers over each place of a patch by itself, and the fusion with the block's input."""

    def __init__(self, style: BlockStyle, row: TransformerBlocks, place: BlockPlace) -> None:
        super().__init__()
        channels, out_channels, act = place.in_channels, place.channels, style.spec.act_layer
        self.conv_kxk = style.conv(channels, channels, row.kernel, dilation=place.first_dilation)
        self.conv_1x1 = nn.Conv2d(channels, row.width, 1, bias=False)
        norm = token_norm_factory(eps=1e-5)
        block = TransformerStyle(embed_dim=row.width, num_heads=NUM_HEADS, norm=norm, mlp_ratio=2, act_layer=act)
        self.transformer = nn.Sequential(*(TransformerBlock(block, place.drop_path) for _ in range(row.transformers)))
        self.norm = norm(row.width)
        self.conv_proj = style.conv(row.width, out_channels)
        self.conv_fusion = style.conv(channels + out_channels, out_channels, row.kernel)

    def forward(self, x: Tensor) -> Tensor:
        local = self.conv_1x1(self.conv_kxk(x))
        size, (height, width) = (x.shape[2], x.shape[3]), divided_size(x)
        grid = height // PATCH, width // PATCH
        tokens = partition_grid(fit(local, (height, width), align_corners=False).permute(0, 2, 3, 1), grid)
        seen = merge_grid(self.norm(self.transformer(tokens)), grid, (height, width)).permute(0, 3, 1, 2)
        return self.conv_fusion(torch.cat([x, self.conv_proj(fit(seen, size, align_corners=False))], 1))


class SeparableAttention(nn.Module):
    """Attention whose cost is linear in the cells (arXiv:2206.02680, section 3.2): one context that all values meet.

    (N, C, places, patches) -> the same; patches attend to each other, places of a patch by themselves.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.parts = (1, channels, channels)
        self.qkv_proj = nn.Conv2d(channels, sum(self.parts), 1)
        self.out_proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scores, keys, values = self.qkv_proj(x).split(self.parts, 1)
        context = (keys * scores.softmax(3)).sum(3, keepdim=True)
        return self.out_proj(values.relu() * context)


class SeparableBlock(nn.Module):
    """Separable attention and a perceptron, each on a residual branch behind a norm of all channels and cells."""

    def __init__(self, channels: int, act: str, drop_path: float) -> None:
        super().__init__()
        norm = norm_factory("groupnorm1")
        self.norm1 = norm(channels)
        self.attn = SeparableAttention(channels)
        self.drop_path1 = make_drop_path(drop_path)
        self.norm2 = norm(channels)
        self.mlp = Mlp(channels, 2 * channels, act=act, use_conv=True)
        self.drop_path2 = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.attn(self.norm1(x)))
        return x + self.drop_path2(self.mlp(self.norm2(x)))


class MobileVitV2Block(nn.Module):
    """A depthwise convolution and separable transformers; no shortcut around them. The map grows to whole patches."""

    def __init__(self, style: BlockStyle, row: TransformerBlocks, place: BlockPlace) -> None:
        super().__init__()
        channels, groups = place.in_channels, groups_of(place.in_channels, row.group_size)
        self.conv_kxk = style.conv(channels, channels, row.kernel, dilation=place.first_dilation, groups=groups)
        self.conv_1x1 = nn.Conv2d(channels, row.width, 1, bias=False)
        block = partial(SeparableBlock, row.width, style.spec.act_layer, place.drop_path)
        self.transformer = nn.Sequential(*(block() for _ in range(row.transformers)))
        self.norm = norm_factory("groupnorm1")(row.width)
        self.conv_proj = style.conv(row.width, place.channels, act="identity")

    def forward(self, x: Tensor) -> Tensor:
        height, width = divided_size(x)
        x = self.conv_1x1(self.conv_kxk(fit(x, (height, width), align_corners=True)))
        places = F.pixel_unshuffle(x, PATCH).unflatten(1, (x.shape[1], PATCH**2)).flatten(3)
        seen = self.norm(self.transformer(places)).flatten(1, 2).unflatten(2, (height // PATCH, width // PATCH))
        return self.conv_proj(F.pixel_shuffle(seen, PATCH))


class MobileVit(ByobNet):
    """Stem, stages of inverted residuals and transformers, a 1x1 convolution, pooling, classifier `head.fc`."""

    def make_block(self, style: BlockStyle, row: Blocks, place: BlockPlace) -> nn.Module:
        if isinstance(row, TransformerBlocks):
            return (MobileVitBlock if row.kind == "attention" else MobileVitV2Block)(style, row, place)
        return super().make_block(style, row, place)
