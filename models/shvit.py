"""SHViT: Yun and Ro, Single-Head Vision Transformer with Memory Efficient Macro Design (arXiv:2401.16456)."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.shvit import SHViTSpec
from zoo.core.errors import UsageError
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.conv_norm import ConvThenNorm, conv_norm
from zoo.models.layers.linear_map import Diagonal
from zoo.models.layers.norm import norm_factory
from zoo.models.layers.pool import GlobalPool
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.token_init import init_linear
from zoo.models.normed_classifier import NormedClassifier

__getattr__ = family_attributes("shvit")

FFN_RATIO = 2
MERGE_RATIO = 4
"""Hidden width between two stages against that of the stage before."""


class SingleHeadAttention(nn.Module):
    """Attention of one head over the first `partial` channels of a map; the others pass by (section 3.2)."""

    def __init__(self, channels: int, partial: int, qk_dim: int) -> None:
        super().__init__()
        self.parts = partial, channels - partial
        self.widths = qk_dim, qk_dim, partial
        self.scale = qk_dim**-0.5
        self.pre_norm = norm_factory("groupnorm1")(partial)
        self.qkv = conv_norm(partial, sum(self.widths))
        self.proj = nn.Sequential(nn.ReLU(), conv_norm(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        mixed, rest = x.split(self.parts, 1)
        query, key, value = self.qkv(self.pre_norm(mixed)).flatten(2).split(self.widths, 1)  # each (N, width, L)
        weights = ((query.transpose(1, 2) @ key) * self.scale).softmax(-1)
        found = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return self.proj(torch.cat([found, rest], 1))


def residual(module: nn.Module, last_norm: str = "") -> ResidualBlock:
    """The module with a shortcut; the norm of this path in it starts as zero."""
    return ResidualBlock({"m": module}, last_norm=f"m.{last_norm}" if last_norm else "")


def feed_forward(channels: int) -> ResidualBlock:
    hidden = FFN_RATIO * channels
    parts = {"pw1": conv_norm(channels, hidden), "act": nn.ReLU(), "pw2": conv_norm(hidden, channels)}
    return residual(nn.Sequential(OrderedDict(parts)), "pw2.bn")


class Depthwise(ResidualBlock):
    """A depthwise convolution with a shortcut."""

    m: ConvThenNorm

    def __init__(self, channels: int, last_norm: str = "") -> None:
        super().__init__({"m": conv_norm(channels, channels, 3, groups=channels)}, last_norm=last_norm)

    def fuse(self) -> nn.Module:
        """One convolution."""
        return (self.m.linear_map() + Diagonal.identity(self.m[0])).as_layer(self.m[0])


def merging(in_channels: int, channels: int) -> nn.Sequential:
    """An inverted bottleneck with squeeze-and-excitation that halves the map."""
    hidden = MERGE_RATIO * in_channels
    parts = {
        "conv1": conv_norm(in_channels, hidden),
        "act1": nn.ReLU(),
        "conv2": conv_norm(hidden, hidden, 3, 2, groups=hidden),
        "act2": nn.ReLU(),
        "se": SqueezeExcite(hidden, 0.25),
        "conv3": conv_norm(hidden, channels),
    }
    return nn.Sequential(OrderedDict(parts))


def make_block(spec: SHViTSpec, place: BlockPlace) -> nn.Sequential:
    """A depthwise convolution, attention where the stage has it, a feed-forward network, each with a shortcut."""
    channels = place.channels
    mixer: nn.Module = nn.Identity()
    if spec.types[place.stage] == "s":
        attention = SingleHeadAttention(channels, spec.partial_dim[place.stage], spec.qk_dim)
        mixer = residual(attention, "proj.1.bn")
    return nn.Sequential(OrderedDict(conv=Depthwise(channels, "m.bn"), mixer=mixer, ffn=feed_forward(channels)))


class SHViT(NormedClassifier, ConvNet):
    """A stem that shrinks the image by 16, three stages, pooling, classifier `head`."""

    spec: SHViTSpec
    trunk = ("patch_embed", "stages.*")

    def build(self) -> None:
        spec, width = self.spec, self.spec.embed_dim[0]
        self.patch_embed = nn.Sequential(conv_norm(self.in_chans, width // 8, 3, 2))
        for share in (4, 2, 1):
            self.patch_embed.extend([nn.ReLU(), conv_norm(width // share // 2, width // share, 3, 2)])
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.embed_dim, spec.depth, strict=True)]
        for places in walk_stages(widths, width, 16):
            first = places[0]
            before, after = first.in_channels, first.channels
            downsample: nn.Module = nn.Identity()
            if first.stage:
                halves = [[Depthwise(channels), feed_forward(channels)] for channels in (before, after)]
                downsample = nn.Sequential(*halves[0], merging(before, after), *halves[1])
            blocks = nn.Sequential(*(make_block(spec, place) for place in places))
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
            self.add_level(after, 16 * 2**first.stage, f"stages.{first.stage}")
        self.num_features = spec.embed_dim[-1]

    def make_pool(self, pool_type: str) -> nn.Module:
        pool = GlobalPool(pool_type)
        if pool.feature_multiplier != 1:
            raise UsageError(f"The norm of the classifier takes one pooled map, {pool_type!r} gives several.")
        return pool

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_linear(module)
