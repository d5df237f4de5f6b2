"""EfficientViT: Liu et al., Memory Efficient Vision Transformer with Cascaded Group Attention (arXiv:2305.07027).

One layer of attention stands between several perceptrons, and each of its heads sees a part of the channels only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from functools import partial
from itertools import count

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.efficientvit_msra import EfficientVitMsraSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers import conv_norm as pairs
from zoo.models.layers.biased_attention import halved
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.norm_linear import NormLinear
from zoo.models.layers.patch_embed import as_pair
from zoo.models.layers.relative_position import DistanceBiases
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.tracing import listed
from zoo.models.layers.window import Size, attend_in_windows

__getattr__ = family_attributes("efficientvit_msra")

PATCH = 16
MLP_RATIO = 2
MERGE_RATIO = 4
"""Channels in a patch merging per channel of its input."""

conv_norm = partial(pairs.conv_norm, name="conv")


def residual(module: nn.Module, last_norm: str = "") -> ResidualBlock:
    """`x + module(x)`; where the last norm is named, the branch starts as zero."""
    return ResidualBlock({"m": module}, last_norm=last_norm)


def depthwise(channels: int, last_norm: str = "") -> ResidualBlock:
    """A depthwise convolution as a positional encoding."""
    return residual(conv_norm(channels, channels, 3, groups=channels), last_norm)


def perceptron(channels: int) -> ResidualBlock:
    hidden = MLP_RATIO * channels
    parts = {"pw1": conv_norm(channels, hidden), "act": nn.ReLU(), "pw2": conv_norm(hidden, channels)}
    return residual(nn.Sequential(OrderedDict(parts)), "m.pw2.bn")


class PatchEmbedding(nn.Sequential):
    """Four convolutions that halve the map and double the channels."""

    patch_size = PATCH

    def __init__(self, in_chans: int, channels: int) -> None:
        super().__init__()
        widths = [in_chans, *(channels // part for part in (8, 4, 2, 1))]
        for index in range(1, len(widths)):
            if index > 1:
                self.add_module(f"act{index - 1}", nn.ReLU())
            self.add_module(f"conv{index}", conv_norm(widths[index - 1], widths[index], 3, 2))


def patch_merging(in_channels: int, channels: int) -> nn.Sequential:
    """To a map of half the size, by an inverted bottleneck between two pairs of positional encoding and perceptron."""
    hidden = MERGE_RATIO * in_channels
    merge = {
        "conv1": conv_norm(in_channels, hidden),
        "act1": nn.ReLU(),
        "conv2": conv_norm(hidden, hidden, 3, 2, groups=hidden),
        "act2": nn.ReLU(),
        "se": SqueezeExcite(hidden, 0.25),
        "conv3": conv_norm(hidden, channels),
    }
    parts = {
        "res1": nn.Sequential(depthwise(in_channels), perceptron(in_channels)),
        "patchmerge": nn.Sequential(OrderedDict(merge)),
        "res2": nn.Sequential(depthwise(channels), perceptron(channels)),
    }
    return nn.Sequential(OrderedDict(parts))


class CascadedGroupAttention(DistanceBiases):
    """Each head reads its part of the channels and what the head before it gives, added (section 3.2).

    Maps (N, C, H, W) of the size `window`; a learned bias belongs to each distance between two cells.
    """

    def __init__(self, spec: EfficientVitMsraSpec, channels: int, num_heads: int, window: Size) -> None:
        super().__init__()
        key_dim, value_dim = spec.key_dim, channels // num_heads
        self.parts = (key_dim, key_dim, value_dim)
        self.qkvs = nn.ModuleList(conv_norm(value_dim, sum(self.parts)) for _ in range(num_heads))
        kernels = spec.kernels[:num_heads]
        self.dws = nn.ModuleList(conv_norm(key_dim, key_dim, kernel, groups=key_dim) for kernel in kernels)
        self.proj = nn.Sequential(nn.ReLU(), conv_norm(channels, channels))
        self.make_biases(window, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        biases, size = self.position_bias(), x.shape[2:]
        found: list[Tensor] = []
        for head, part in enumerate(listed(x.chunk(len(self.qkvs), 1), len(self.qkvs))):
            query, key, value = self.qkvs[head](part + found[-1] if found else part).split(self.parts, 1)
            query = self.dws[head](query).flatten(2) * self.parts[0] ** -0.5
            weights = (query.mT @ key.flatten(2) + biases[head]).softmax(-1)
            found.append((value.flatten(2) @ weights.mT).unflatten(2, size))
        return self.proj(torch.cat(found, 1))


class WindowAttention(nn.Module):
    """Cascaded group attention within square windows of a map, the last of them filled up with zeros."""

    def __init__(self, spec: EfficientVitMsraSpec, channels: int, num_heads: int, side: int) -> None:
        super().__init__()
        self.window = side, side
        self.attn = CascadedGroupAttention(spec, channels, num_heads, self.window)

    def forward(self, x: Tensor) -> Tensor:
        return attend_in_windows(x.permute(0, 2, 3, 1), self.window, self._attend).permute(0, 3, 1, 2)

    def _attend(self, cells: Tensor) -> Tensor:
        return self.attn(cells.mT.unflatten(2, self.window)).flatten(2).mT


class EfficientVitMsra(ConvNet):
    """Stem, three stages, pooling, classifier `head`, a norm and a linear layer.

    Images may have any size; that of the spec decides about the windows alone.
    """

    spec: EfficientVitMsraSpec
    classifier_layer = "linear"
    trunk = ("patch_embed", "stages.*")

    def build(self) -> None:
        spec, in_channels = self.spec, self.spec.embed_dim[0]
        self.img_size = as_pair(spec.img_size)
        cells, reduction = min(self.img_size) // PATCH, PATCH
        self.patch_embed = PatchEmbedding(self.in_chans, in_channels)
        self.stages = nn.Sequential()
        for stage, channels, num_heads, depth in zip(count(), spec.embed_dim, spec.num_heads, spec.depth, strict=False):
            downsample: nn.Module = nn.Identity()
            if stage:
                downsample = patch_merging(in_channels, channels)
                cells, reduction = halved((cells, cells))[0], 2 * reduction
            side = min(spec.window_size, cells)
            blocks = nn.Sequential(*(self._block(channels, num_heads, side) for _ in range(depth)))
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
            self.add_level(channels, reduction, f"stages.{stage}")
            in_channels = channels
        self.num_features = in_channels

    def _block(self, channels: int, num_heads: int, side: int) -> nn.Sequential:
        attention = WindowAttention(self.spec, channels, num_heads, side)
        parts = {
            "dw0": depthwise(channels, "m.bn"),
            "ffn0": perceptron(channels),
            "mixer": residual(attention, "m.attn.proj.1.bn"),
            "dw1": depthwise(channels, "m.bn"),
            "ffn1": perceptron(channels),
        }
        return nn.Sequential(OrderedDict(parts))

    def make_classifier(self) -> nn.Module:
        if self.is_reparameterized or not self.num_classes:
            return super().make_classifier()
        return NormLinear(self.head_hidden_size, self.num_classes, self.drop_rate)

    def drop_out(self, pooled: Tensor) -> Tensor:
        return pooled  # the classifier has a dropout of its own, behind its norm


def unused_keys(keys: Collection[str], model: EfficientVitMsra) -> set[str]:  # noqa: ARG001
    """The indices of the biases, which follow from the size."""
    return {key for key in keys if key.endswith("attention_bias_idxs")}
