"""Visformer: Chen et al., Visformer: The Vision-friendly Transformer (arXiv:2104.12533).

A stage of convolutions and two of transformer blocks, all on maps (N, C, H, W) with batch norm.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.visformer import VisformerSpec
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import attend, check_heads
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.init import InitialValues, kaiming, truncated_normal
from zoo.models.layers.patch_embed import as_pair, check_image_size

__getattr__ = family_attributes("visformer")


class MapAttention(nn.Module):
    """Every cell of a map (N, C, H, W) attends to all."""

    def __init__(self, channels: int, num_heads: int, attn_drop: float, proj_drop: float) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads, self.attn_drop_rate = num_heads, attn_drop
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.proj = nn.Conv2d(channels, channels, 1, bias=False)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        q, k, v = self.qkv(x).flatten(2).unflatten(1, (3, self.num_heads, -1)).transpose(3, 4).contiguous().unbind(1)
        x = attend(q, k, v, dropout=self.attn_drop_rate if self.training else 0.0)
        return self.proj_drop(self.proj(x.transpose(1, 2).unflatten(2, size)))


class SpatialMlp(nn.Module):
    """A perceptron over the channels of a map; with `groups` there is a 3x3 convolution between its layers."""

    def __init__(self, channels: int, hidden: int, groups: int, drop: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.act1 = nn.GELU()
        self.drop1 = nn.Dropout(drop)
        middle = nn.Conv2d(hidden, hidden, 3, padding=1, groups=groups, bias=False) if groups else nn.Identity()
        self.conv2: nn.Module = middle
        self.act2: nn.Module = nn.GELU() if groups else nn.Identity()
        self.conv3 = nn.Conv2d(hidden, channels, 1, bias=False)
        self.drop3 = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop1(self.act1(self.conv1(x)))
        return self.drop3(self.conv3(self.act2(self.conv2(x))))


class VisformerBlock(nn.Module):
    """Attention and a perceptron, each on the normed map and with a shortcut; either is None where there is none.

    Args:
        channels: of the map.
        attn: the attention.
        mlp: the perceptron.
        drop_path: rate of stochastic depth.
    """

    def __init__(self, channels: int, attn: MapAttention | None, mlp: SpatialMlp, drop_path: float) -> None:
        super().__init__()
        self.attn = attn
        self.norm1 = nn.BatchNorm2d(channels) if attn else nn.Identity()
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = mlp
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        if self.attn is not None:
            x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Visformer(ConvNet):
    """Stem, for each stage a patch embedding, positions and blocks, norm, pooling, classifier `head`."""

    spec: VisformerSpec
    initial_values = InitialValues(kaiming, truncated_normal(0.02), zero_bias=True)

    def build(
        self,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        spec = self.spec
        height, width = self.img_size = as_pair(spec.img_size)
        first = nn.Conv2d(self.in_chans, spec.init_channels, 7, 2, 3, bias=False)
        self.stem = nn.Sequential(first, nn.BatchNorm2d(spec.init_channels), nn.ReLU(inplace=True))
        self.pos_drop = nn.Dropout(pos_drop_rate)
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.depth)))
        in_channels, reduction = spec.init_channels, 2
        for stage, depth in enumerate(spec.depth, 1):
            channels, patch = spec.embed_dim * 2**stage // 4, 4 if stage == 1 else 2
            reduction *= patch
            parts = {"proj": nn.Conv2d(in_channels, channels, patch, patch), "norm": nn.BatchNorm2d(channels)}
            self.add_module(f"patch_embed{stage}", nn.Sequential(OrderedDict(parts)))
            positions = torch.empty(1, channels, height // reduction, width // reduction)
            self.register_parameter(f"pos_embed{stage}", nn.Parameter(positions))
            blocks = nn.Sequential()
            for _ in range(depth):
                if stage == 1:
                    attn, mlp = None, SpatialMlp(channels, 2 * channels, spec.group, proj_drop_rate)
                else:
                    attn = MapAttention(channels, spec.num_heads, attn_drop_rate, proj_drop_rate)
                    mlp = SpatialMlp(channels, int(channels * spec.mlp_ratio), 0, proj_drop_rate)
                blocks.append(VisformerBlock(channels, attn, mlp, next(rates)))
            self.add_module(f"stage{stage}", blocks)
            self.add_level(channels, reduction, f"stage{stage}")
            in_channels = channels
        self.num_features = in_channels
        self.norm = nn.BatchNorm2d(in_channels)

    def reset_parameters(self) -> None:
        for positions in self._parameters.values():
            assert positions is not None
            nn.init.trunc_normal_(positions, std=0.02)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "stem", self._stem
        for level in self.feature_info:
            path = level["module"]
            number = path.removeprefix("stage")
            yield f"patch_embed{number}", partial(self._embed, number)
            yield path, self.get_submodule(path)

    def _stem(self, x: Tensor) -> Tensor:
        check_image_size(x, as_pair(self.spec.img_size))
        return self.stem(x)

    def _embed(self, number: str, x: Tensor) -> Tensor:
        x = self.get_submodule(f"patch_embed{number}")(x)
        return self.pos_drop(x + getattr(self, f"pos_embed{number}"))

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)
