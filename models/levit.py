"""LeViT: Graham et al., a Vision Transformer in ConvNet's Clothing for Faster Inference (arXiv:2104.01136).

A pyramid of attention blocks behind a convolutional stem. Batch norm follows every layer, and attention has a learned
bias for every distance between two cells of the map instead of position embeddings. Two forms compute the same: one on
tokens (N, T, C) with linear layers, one on maps (N, C, H, W) with pointwise convolutions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from math import prod

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.levit import LevitSpec
from zoo.models.base import Size, Step
from zoo.models.distilled import DistilledModel
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.biased_attention import BiasedAttention, Subsample, halved
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.linear_map import LinearMap
from zoo.models.layers.norm_linear import NormLinear
from zoo.models.layers.patch_embed import as_pair, check_image_size
from zoo.models.layers.pool import GlobalPool, TokenPool

__getattr__ = family_attributes("levit")

ATTENTION_RATIO = 2
"""Channels of a head's values per channel of its keys."""
DOWNSAMPLE_ATTENTION_RATIO = 4
MLP_RATIO = 2


class ConvNorm(nn.Module):
    """Convolution and batch norm."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int = 1, stride: int = 1) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.linear = nn.Conv2d(in_channels, channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.linear(x))

    def fuse(self) -> nn.Module:
        return LinearMap.of(self.linear, self.bn).as_layer(self.linear)


class LinearNorm(nn.Module):
    """Linear layer on tokens and batch norm over all of them."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, channels, bias=False)
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return self.bn(x.flatten(0, 1)).reshape_as(x)

    def fuse(self) -> nn.Module:
        return LinearMap.of(self.linear, self.bn).as_layer(self.linear)


def make_layer(spec: LevitSpec, in_channels: int, channels: int) -> nn.Module:
    """The linear layer of the spec's form."""
    return (ConvNorm if spec.use_conv else LinearNorm)(in_channels, channels)


def activated_layer(spec: LevitSpec, in_channels: int, channels: int) -> nn.Sequential:
    """An activation and the layer `ln` after it."""
    parts = {"act": make_activation(spec.act_layer), "ln": make_layer(spec, in_channels, channels)}
    return nn.Sequential(OrderedDict(parts))


class Attention(BiasedAttention):
    def __init__(self, spec: LevitSpec, channels: int, num_heads: int, size: Size) -> None:
        super().__init__(num_heads, spec.key_dim, ATTENTION_RATIO * spec.key_dim, size, use_conv=spec.use_conv)
        self.qkv = make_layer(spec, channels, num_heads * (2 * self.key_dim + self.value_dim))
        self.proj = activated_layer(spec, num_heads * self.value_dim, channels)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.heads(self.qkv(x)).split([self.key_dim, self.key_dim, self.value_dim], dim=2)
        return self.proj(self.attend(query, key, value))


class AttentionDownsample(BiasedAttention):
    """Queries come from every second row and column, so the output is a map of half the size."""

    def __init__(self, spec: LevitSpec, in_channels: int, channels: int, size: Size) -> None:
        num_heads = in_channels // spec.key_dim
        value_dim = DOWNSAMPLE_ATTENTION_RATIO * spec.key_dim
        super().__init__(num_heads, spec.key_dim, value_dim, size, stride=2, use_conv=spec.use_conv)
        self.kv = make_layer(spec, in_channels, num_heads * (self.key_dim + self.value_dim))
        layer = make_layer(spec, in_channels, num_heads * self.key_dim)
        self.q = nn.Sequential(OrderedDict({"down": Subsample(size, use_conv=spec.use_conv), "ln": layer}))
        self.proj = activated_layer(spec, num_heads * self.value_dim, channels)

    def forward(self, x: Tensor) -> Tensor:
        key, value = self.heads(self.kv(x)).split([self.key_dim, self.value_dim], dim=2)
        return self.proj(self.attend(self.heads(self.q(x)), key, value))


class LevitMlp(nn.Sequential):
    def __init__(self, spec: LevitSpec, channels: int) -> None:
        hidden = MLP_RATIO * channels
        super().__init__()
        self.ln1 = make_layer(spec, channels, hidden)
        self.act = make_activation(spec.act_layer)
        self.ln2 = make_layer(spec, hidden, channels)


class LevitBlock(nn.Module):
    def __init__(self, spec: LevitSpec, channels: int, num_heads: int, size: Size, drop_path: float) -> None:
        super().__init__()
        self.attn = Attention(spec, channels, num_heads, size)
        self.drop_path1 = make_drop_path(drop_path)
        self.mlp = LevitMlp(spec, channels)
        self.drop_path2 = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.attn(x))
        return x + self.drop_path2(self.mlp(x))


class LevitDownsample(nn.Module):
    """Attention to a map of half the size, which has no shortcut, and an MLP, which has one."""

    def __init__(self, spec: LevitSpec, in_channels: int, channels: int, size: Size, drop_path: float) -> None:
        super().__init__()
        self.attn_downsample = AttentionDownsample(spec, in_channels, channels, size)
        self.mlp = LevitMlp(spec, channels)
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attn_downsample(x)
        return x + self.drop_path(self.mlp(x))


class Levit(DistilledModel):
    """Stem, three stages, pooling, classifier `head`, and `head_dist` where the spec is distilled.

    The biases belong to the cells of the map, so the model takes images of one size.

    Args:
        spec: the variant, with the size of the images.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        global_pool: avg, max, avgmax, catavgmax, or '' with num_classes=0.
        drop_rate, drop_path_rate: dropout before the classifier, stochastic depth of every block.
    """

    classifier_layer = "linear"

    def __init__(
        self,
        spec: LevitSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        self.img_size = as_pair(spec.img_size)
        stride = self._make_stem(spec, in_chans)
        self._make_stages(spec, (self.img_size[0] // stride, self.img_size[1] // stride), stride, drop_path_rate)
        self.num_features = spec.embed_dim[-1]
        self.make_head(global_pool)

    def _make_stem(self, spec: LevitSpec, in_chans: int) -> int:
        """Convolutions that halve the map and double the channels; returns their stride."""
        num_convs = {"s8": 3, "s16": 4}[spec.stem_type]
        self.stem = nn.Sequential()
        channels = in_chans
        for index in range(num_convs):
            width = spec.embed_dim[0] // 2 ** (num_convs - 1 - index)
            if index:
                self.stem.add_module(f"act{index}", make_activation(spec.act_layer))
            self.stem.add_module(f"conv{index + 1}", ConvNorm(channels, width, 3, stride=2))
            channels = width
        return 2**num_convs

    def _make_stages(self, spec: LevitSpec, size: Size, reduction: int, drop_path: float) -> None:
        self.stages = nn.Sequential()
        self.feature_info = []
        self.map_sizes: dict[int, Size] = {}
        in_channels = spec.embed_dim[0]
        for index, (channels, depth, heads) in enumerate(zip(spec.embed_dim, spec.depth, spec.num_heads, strict=True)):
            downsample: nn.Module = nn.Identity()
            if index:
                downsample = LevitDownsample(spec, in_channels, channels, size, drop_path)
                size, reduction = halved(size), 2 * reduction
            blocks = nn.Sequential(*(LevitBlock(spec, channels, heads, size, drop_path) for _ in range(depth)))
            self.stages.append(nn.Sequential(OrderedDict({"downsample": downsample, "blocks": blocks})))
            self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": f"stages.{index}"})
            self.map_sizes[prod(size)] = size
            in_channels = channels

    def make_classifier(self) -> nn.Module:
        if self.is_reparameterized or not self.num_classes:
            return super().make_classifier()
        return NormLinear(self.head_hidden_size, self.num_classes, self.drop_rate)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "stem", self._embed
        for index, stage in enumerate(self.stages):
            yield f"stages.{index}", stage

    def _embed(self, x: Tensor) -> Tensor:
        check_image_size(x, as_pair(self.spec.img_size))
        x = self.stem(x)
        return x if self.spec.use_conv else x.flatten(2).transpose(1, 2)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - there is one size
        return x if self.spec.use_conv else x.transpose(1, 2).unflatten(2, self.map_sizes[x.shape[1]])

    def make_pool(self, pool_type: str) -> nn.Module:
        return GlobalPool(pool_type) if self.spec.use_conv else TokenPool(pool_type)

    def drop_out(self, pooled: Tensor) -> Tensor:
        return pooled  # each classifier has a dropout of its own, behind its norm

    def init_module(self, name: str, module: nn.Module) -> None:
        """Every branch with a shortcut starts as zero."""
        super().init_module(name, module)
        if isinstance(module, LevitMlp):
            nn.init.zeros_(module.get_parameter("ln2.bn.weight"))
        elif isinstance(module, Attention):
            nn.init.zeros_(module.get_parameter("proj.ln.bn.weight"))


def unused_keys(keys: Collection[str], model: Levit) -> set[str]:  # noqa: ARG001
    """The indices of the biases, which follow from the size."""
    return {key for key in keys if key.endswith("attention_bias_idxs")}
