"""PVT v2: Wang et al., Improved Baselines with Pyramid Vision Transformer (arXiv:2106.13797).

Four stages at a quarter to a 32nd of the image, embedded from overlapping patches. Keys and values come from a smaller
map, and a depthwise convolution in the perceptrons tells positions. Maps are (N, H, W, C) inside the trunk and
(N, C, H, W) outside of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.pvt_v2 import PvtV2Spec
from zoo.models.base import Size
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.conv_embed import ConvEmbed
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.init import FAN_OUT_TRUNCATED
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.reduced_attention import ReducedStyle
from zoo.models.layers.transformer_block import TransformerBlock

__getattr__ = family_attributes("pvt_v2")

POOLED_SIDE = 7
"""Cells on the side of the map of keys and values in linear attention."""


class DepthwiseMlp(nn.Module):
    """A perceptron on maps (N, H, W, C) with a depthwise convolution before the activation."""

    def __init__(self, channels: int, hidden: int, drop: float, extra_relu: bool) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.relu = nn.ReLU(inplace=True) if extra_relu else nn.Identity()
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, channels)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.fc1(x)).permute(0, 3, 1, 2)
        x = self.act(self.dwconv(x).permute(0, 2, 3, 1))
        return self.drop(self.fc2(self.drop(x)))


@dataclass(frozen=True, kw_only=True)
class PvtV2Style(ReducedStyle):
    def make_mlp(self) -> nn.Module:
        return DepthwiseMlp(self.embed_dim, self.hidden_channels, self.proj_drop, extra_relu=bool(self.pooled_side))


class PyramidVisionTransformerV2(ConvNet):
    """Patch embedding, stages, pooling, classifier `head`.

    Args of `build`: dropout within the blocks and of the attention weights, stochastic depth of the last block.
    """

    spec: PvtV2Spec
    initial_values = FAN_OUT_TRUNCATED
    trunk = ("patch_embed", "stages.*")

    def build(self, proj_drop_rate: float = 0.0, attn_drop_rate: float = 0.0, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        norm = token_norm_factory("layernorm", eps=1e-6)
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.depths)))
        self.patch_embed = ConvEmbed(self.in_chans, spec.embed_dims[0], 7, 4, 3)
        self.stages = nn.Sequential()
        for index, (channels, depth) in enumerate(zip(spec.embed_dims, spec.depths, strict=True)):
            style = PvtV2Style.of(
                spec,
                embed_dim=channels,
                num_heads=spec.num_heads[index],
                mlp_ratio=spec.mlp_ratios[index],
                reduction=spec.sr_ratios[index],
                pooled_side=POOLED_SIDE if spec.linear else 0,
                norm=norm,
                attn_drop=attn_drop_rate,
                proj_drop=proj_drop_rate,
            )
            parts = OrderedDict[str, nn.Module]()
            if index:
                parts["downsample"] = ConvEmbed(spec.embed_dims[index - 1], channels, 3, 2, 1, of_map=True)
            parts["blocks"] = nn.Sequential(*(TransformerBlock(style, next(rates)) for _ in range(depth)))
            parts["norm"] = style.make_norm()
            self.stages.append(nn.Sequential(parts))
            self.add_level(channels, 4 * 2**index, f"stages.{index}")
        self.num_features = spec.embed_dims[-1]

    def finish(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - the map has its own
        return x.permute(0, 3, 1, 2).contiguous()


AUTHORS_KEYS: KeyTable = {
    r"^patch_embed1\.": "patch_embed.",
    r"^patch_embed(\d)\.": lambda stage: f"stages.{int(stage[1]) - 1}.downsample.",
    r"^block(\d)\.": lambda stage: f"stages.{int(stage[1]) - 1}.blocks.",
    r"^norm(\d)\.": lambda stage: f"stages.{int(stage[1]) - 1}.norm.",
    r"\.dwconv\.dwconv\.": ".dwconv.",
}


def repair_keys(state_dict: Mapping[str, Tensor], model: PyramidVisionTransformerV2) -> dict[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files, which number the stages from 1."""
    return rename_keys(state_dict, AUTHORS_KEYS)
