"""GCViT: Hatamizadeh et al., Global Context Vision Transformers (arXiv:2206.09959).

Every second block asks each window the same queries, which are the whole map, pooled to the size of a window.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from math import log2, prod
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.gcvit import GlobalContextVitSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import Attention, attend, split_heads
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.norm import LayerNorm2d
from zoo.models.layers.patch_embed import as_pair, check_image_size
from zoo.models.layers.relative_position import RelativePositionBias
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.tracing import listed
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock
from zoo.models.layers.window import attend_in_windows

__getattr__ = family_attributes("gcvit")

NORM_EPS = 1e-5


class WindowQueryAttention(Attention):
    """Attention within windows, whose queries are its own, or with `is_global` those of all windows (section 3.2)."""

    def __init__(self, channels: int, num_heads: int, *, window: Size, is_global: bool, **options: Any) -> None:
        super().__init__(channels, num_heads, **options)
        self.is_global = is_global
        if is_global:
            self.qkv = nn.Linear(channels, 2 * channels, bias=self.qkv.bias is not None)
        self.rel_pos = RelativePositionBias(window, num_heads)

    def forward(self, x: Tensor, query: Tensor) -> Tensor:  # type: ignore[override]
        """Windows (N * windows, cells, C) -> the same; `query` (N * windows, heads, cells, D) is the global one."""
        if self.is_global:
            k, v = (split_heads(part, self.num_heads) for part in listed(self.qkv(x).chunk(2, 2), 2))
            q = query
        else:
            q, k, v = self._project(x)
        x = attend(q, k, v, self.rel_pos(), self.attn_drop_rate if self.training else 0.0)
        return self.proj_drop(self.proj(x))


class WindowQueryBlock(TransformerBlock):
    """Attention within the windows of a map (N, H, W, C) and a perceptron."""

    def __init__(self, style: BlockStyle, drop_path: float, window: Size, is_global: bool) -> None:
        super().__init__(style, drop_path, attn=partial(WindowQueryAttention, window=window, is_global=is_global))
        self.window = window

    def attend(self, x: Tensor, *positions: Tensor | None) -> Tensor:
        return attend_in_windows(x, self.window, partial(self.attn, query=positions[0]))


def fused_block(channels: int) -> ResidualBlock:
    """A depthwise convolution, attention over channels and a pointwise convolution, without norms."""
    parts = {
        "conv_dw": nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        "act": nn.GELU(),
        "se": SqueezeExcite(channels, 0.25, act="gelu", bias=False),
        "conv_pw": nn.Conv2d(channels, channels, 1, bias=False),
    }
    return ResidualBlock(parts, act="")


def downsample(in_channels: int, channels: int) -> nn.Sequential:
    """A map at half the size, between two norms (section 3.1)."""
    return nn.Sequential(
        OrderedDict(
            norm1=LayerNorm2d(in_channels, NORM_EPS),
            conv_block=fused_block(in_channels),
            reduction=nn.Conv2d(in_channels, channels, 3, 2, 1, bias=False),
            norm2=LayerNorm2d(channels, NORM_EPS),
        )
    )


def query_generator(channels: int, halvings: int) -> nn.Sequential:
    """The map pooled to a window: a block before each halving, one also where there is none (section 3.2.1)."""
    layers: dict[str, nn.Module] = {}
    for index in range(1, max(halvings, 1) + 1):
        layers[f"conv{index}"] = fused_block(channels)
        if halvings:
            layers[f"pool{index}"] = nn.MaxPool2d(3, 2, 1)
    return nn.Sequential(OrderedDict(blocks=nn.Sequential(OrderedDict(layers))))


class GlobalContextStage(nn.Module):
    """(N, C, H, W) -> the same with the channels and the size of the stage: downsampling, and blocks.

    Args:
        style: of the blocks.
        places: of the blocks.
        size, window: height and width of the map and of its windows.
        is_last: whether a norm ends it.
    """

    def __init__(self, style: BlockStyle, places: list[BlockPlace], size: Size, window: Size, is_last: bool) -> None:
        super().__init__()
        channels, opens_trunk = style.embed_dim, places[0].stage == 0
        self.num_heads, self.num_windows = style.num_heads, prod(size) // prod(window)
        self.downsample = nn.Identity() if opens_trunk else downsample(places[0].in_channels, channels)
        self.global_block = query_generator(channels, int(log2(min(size) / min(window))))
        self.blocks = nn.ModuleList(
            WindowQueryBlock(style, place.drop_path, window, is_global=place.position % 2 == 1) for place in places
        )
        self.norm = style.make_norm() if is_last else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.downsample(x)
        query = split_heads(self.global_block(x).flatten(2).transpose(1, 2), self.num_heads)
        query = query.unsqueeze(1).expand(-1, self.num_windows, -1, -1, -1).flatten(0, 1)
        x = x.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x, query)
        return self.norm(x).permute(0, 3, 1, 2)


class GlobalContextVit(ConvNet):
    """Stem, four stages that each halve the map but the first, pooling, classifier `head.fc`.

    Windows are made for images of `img_size`.
    """

    spec: GlobalContextVitSpec
    img_size: Size

    def build(self, proj_drop_rate: float = 0.0, attn_drop_rate: float = 0.0, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        self.img_size = as_pair(spec.img_size)
        if any(side % 32 for side in self.img_size):
            raise UsageError(f"The sides of an image must be multiples of 32, found {spec.img_size}.")
        conv = nn.Conv2d(self.in_chans, spec.embed_dim, 3, 2, 1)
        self.stem = nn.Sequential(OrderedDict(conv1=conv, down=downsample(spec.embed_dim, spec.embed_dim)))
        self.stages = nn.Sequential()
        widths = [[spec.embed_dim << stage] * depth for stage, depth in enumerate(spec.depths)]
        for places in walk_stages(widths, spec.embed_dim, 4, drop_path=drop_path_rate):
            last, stage = places[-1], places[-1].stage
            style = BlockStyle.of(
                spec,
                embed_dim=last.channels,
                num_heads=spec.num_heads[stage],
                norm=partial(nn.LayerNorm, eps=NORM_EPS),
                init_values=spec.layer_scale,
                attn_drop=attn_drop_rate,
                proj_drop=proj_drop_rate,
            )
            size, window = (
                (self.img_size[0] // ratio, self.img_size[1] // ratio)
                for ratio in (last.reduction, spec.window_ratio[stage])
            )
            is_last = stage == len(spec.depths) - 1
            self.stages.append(GlobalContextStage(style, places, size, window, is_last))
            self.feature_info.append(last.level(f"stages.{stage}"))
        self.num_features = widths[-1][-1]

    def steps(self) -> Iterator[tuple[str, Step]]:
        steps = super().steps()
        next(steps)
        yield "stem", self.read_image
        yield from steps

    def read_image(self, x: Tensor) -> Tensor:
        """What the stem makes of an image; raises UsageError for one that the windows are not made for."""
        check_image_size(x, self.img_size)
        return self.stem(x)
