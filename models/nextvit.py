"""Next-ViT: Li et al., Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial Scenarios.

arXiv:2207.05501. Blocks of grouped convolutions, and at the end of each group one that has attention beside them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.nextvit import NextVitSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.activation import make_activation
from zoo.models.layers.attention import attend, check_heads, split_heads
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import TRUNCATED_NORMAL
from zoo.models.layers.linear_map import Diagonal, LinearMap
from zoo.models.layers.mbconv import groups_of
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.pool import shortcut_pool
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("nextvit")

CONV_MLP_RATIO, ATTENTION_MLP_RATIO = 3, 2


def embedding(in_channels: int, channels: int, stride: int = 1) -> nn.Module:
    """The average of 2x2 cells where there is a stride, a pointwise convolution and a norm; or nothing of these."""
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    conv = make_conv(in_channels, channels, 1)
    return nn.Sequential(OrderedDict(pool=shortcut_pool(stride), conv=conv, norm=nn.BatchNorm2d(channels)))


def conv_attention(spec: NextVitSpec, channels: int) -> nn.Sequential:
    """A grouped convolution that stands for multi-head attention, and a projection (section 3.2)."""
    parts = {
        "group_conv3x3": make_conv(channels, channels, 3, groups=groups_of(channels, spec.head_dim)),
        "norm": nn.BatchNorm2d(channels),
        "act": make_activation(spec.act_layer),
        "projection": make_conv(channels, channels, 1),
    }
    return nn.Sequential(OrderedDict(parts))


def make_mlp(spec: NextVitSpec, channels: int, ratio: int, drop: float) -> Mlp:
    return Mlp(channels, ratio * channels, act=spec.act_layer, drop=drop, use_conv=True)


class ConvBlock(nn.Module):
    """Grouped convolutions and a perceptron, each with a shortcut."""

    def __init__(self, spec: NextVitSpec, place: BlockPlace, proj_drop: float) -> None:
        super().__init__()
        channels = place.channels
        self.patch_embed = embedding(place.in_channels, channels, place.stride)
        self.mhca = conv_attention(spec, channels)
        self.attn_drop_path = make_drop_path(place.drop_path)
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.mlp = make_mlp(spec, channels, CONV_MLP_RATIO, proj_drop)
        self.mlp_drop_path = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        x = x + self.attn_drop_path(self.mhca(x))
        return x + self.mlp_drop_path(self.mlp(self.norm(x)))

    def fuse(self) -> nn.Module:
        """The block whose perceptron takes over the norm before it."""
        self.norm = give_norm(self.norm, self.mlp, "fc1")
        return self


def give_norm(norm: nn.Module, to: nn.Module, *names: str) -> nn.Module:
    """Have layers, which neither pad nor have groups, take over the norm before them; return what is left of it."""
    if isinstance(norm, nn.Identity):
        return norm
    for name in names:
        layer = to.get_submodule(name)
        to.add_module(name, LinearMap.of(layer).after(Diagonal.of(norm)).as_layer(layer))
    return nn.Identity()


class AveragedAttention(nn.Module):
    """Tokens (N, L, C) -> the same; keys and values come from the means of so many tokens in a row (section 3.3)."""

    def __init__(self, channels: int, num_heads: int, averaged: int, attn_drop: float, proj_drop: float) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads, self.attn_drop_rate = num_heads, attn_drop
        self.q, self.k, self.v, self.proj = (nn.Linear(channels, channels) for _ in range(4))
        self.proj_drop = nn.Dropout(proj_drop)
        self.sr = nn.AvgPool1d(averaged) if averaged > 1 else nn.Identity()
        self.norm: nn.Module = nn.BatchNorm1d(channels) if averaged > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        fewer = self.norm(self.sr(x.transpose(1, 2))).transpose(1, 2)
        q, k, v = (split_heads(part, self.num_heads) for part in (self.q(x), self.k(fewer), self.v(fewer)))
        return self.proj_drop(self.proj(attend(q, k, v, dropout=self.attn_drop_rate if self.training else 0.0)))


class AttentionBlock(nn.Module):
    """Attention and grouped convolutions, whose channels stand side by side for a perceptron (section 3.3)."""

    def __init__(self, spec: NextVitSpec, place: BlockPlace, attn_drop: float, proj_drop: float) -> None:
        super().__init__()
        share, averaged = spec.mix_block_ratio, spec.sr_ratios[place.stage] ** 2
        width = make_divisible(int(place.channels * share), 32)
        self.patch_embed = embedding(place.in_channels, width, place.stride)
        self.norm1: nn.Module = nn.BatchNorm2d(width)
        self.e_mhsa = AveragedAttention(width, width // spec.head_dim, averaged, attn_drop, proj_drop)
        self.mhsa_drop_path = make_drop_path(place.drop_path * share)
        self.projection = embedding(width, place.channels - width)
        self.mhca = conv_attention(spec, place.channels - width)
        self.mhca_drop_path = make_drop_path(place.drop_path * (1 - share))
        self.norm2: nn.Module = nn.BatchNorm2d(place.channels)
        self.mlp = make_mlp(spec, place.channels, ATTENTION_MLP_RATIO, proj_drop)
        self.mlp_drop_path = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        found = self.mhsa_drop_path(self.e_mhsa(self.norm1(x).flatten(2).transpose(1, 2)))
        x = x + found.transpose(1, 2).unflatten(2, x.shape[2:])
        local = self.projection(x)
        x = torch.cat([x, local + self.mhca_drop_path(self.mhca(local))], 1)
        return x + self.mlp_drop_path(self.mlp(self.norm2(x)))

    def fuse(self) -> nn.Module:
        """The block whose linear layers take over the norms before them; a mean of tokens lets a norm pass."""
        self.e_mhsa.norm = give_norm(self.e_mhsa.norm, self.e_mhsa, "k", "v")
        self.norm1 = give_norm(self.norm1, self.e_mhsa, "q", "k", "v")
        self.norm2 = give_norm(self.norm2, self.mlp, "fc1")
        return self


class NextViT(ConvNet):
    """Stem of four convolutions, four stages, norm, pooling, classifier `head.fc`."""

    spec: NextVitSpec
    initial_values = TRUNCATED_NORMAL

    def build(self, attn_drop_rate: float = 0.0, proj_drop_rate: float = 0.0) -> None:
        spec = self.spec
        self.stem = nn.Sequential()
        channels = self.in_chans
        for width, stride in zip((*spec.stem_chs, spec.stem_chs[-1]), (2, 1, 1, 2), strict=True):
            conv, act = make_conv(channels, width, 3, stride), make_activation(spec.act_layer)
            self.stem.append(nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(width), act=act)))
            channels = width
        self.stages = nn.Sequential()
        for places in walk_stages(spec.widths, channels, 4, drop_path=spec.drop_path_rate):
            last, widest = places[-1], max(place.channels for place in places)
            blocks = nn.Sequential()
            for place in places:
                if last.stage and place.channels == widest:
                    blocks.append(AttentionBlock(spec, place, attn_drop_rate, proj_drop_rate))
                else:
                    blocks.append(ConvBlock(spec, place, proj_drop_rate))
            self.stages.append(nn.Sequential(OrderedDict(blocks=blocks)))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
        self.num_features = last.channels
        self.norm = nn.BatchNorm2d(self.num_features)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)


def repair_keys(state_dict: Mapping[str, Tensor], model: NextViT) -> dict[str, Tensor]:
    """The names of the authors' files, whose blocks are numbered through all stages."""
    if not any(key.startswith("features.") for key in state_dict):
        return dict(state_dict)
    places = [
        f"stages.{stage}.blocks.{index}." for stage, depth in enumerate(model.spec.depths) for index in range(depth)
    ]
    table: KeyTable = {
        r"^features\.(\d+)\.": lambda block: places[int(block[1])],
        r"\.mlp\.conv(\d)\.": r".mlp.fc\1.",
        r"^proj_head\.0\.": "head.fc.",
    }
    return rename_keys(state_dict, table)
