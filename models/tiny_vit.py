"""TinyViT: Wu et al., Fast Pretraining Distillation for Small Vision Transformers (arXiv:2207.10666).

A stage of inverted residuals, and three of attention within windows, with a depthwise convolution between attention
and perceptron.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from functools import partial

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.tiny_vit import TinyVitSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers import conv_norm as pairs
from zoo.models.layers.activation import make_activation
from zoo.models.layers.attention import attend, check_heads
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.norm import LayerNorm2d
from zoo.models.layers.relative_position import DistanceBiases, Size
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.token_init import init_linear
from zoo.models.layers.window import attend_in_windows

__getattr__ = family_attributes("tiny_vit")


conv_norm = partial(pairs.conv_norm, name="conv")


def three_convs(act: str, in_channels: int, width: int, channels: int, stride: int) -> dict[str, nn.Module]:
    """Pointwise, depthwise, pointwise; each has a norm, all but the last an activation."""
    return {
        "conv1": conv_norm(in_channels, width),
        "act1": make_activation(act),
        "conv2": conv_norm(width, width, 3, stride, groups=width),
        "act2": make_activation(act),
        "conv3": conv_norm(width, channels),
    }


class WindowAttention(DistanceBiases):
    """A norm and attention with a bias for each distance: (N * windows, cells, C) -> the same.

    Queries, keys and values of a head stand side by side.
    """

    def __init__(self, channels: int, num_heads: int, window: Size) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.make_biases(window, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).unflatten(2, (self.num_heads, 3, -1)).permute(3, 0, 2, 1, 4).unbind(0)
        return self.proj(attend(q, k, v, self.position_bias()))


def normed_mlp(channels: int, hidden: int, act: str, drop: float) -> nn.Sequential:
    """A norm and a perceptron."""
    parts = {
        "norm": nn.LayerNorm(channels),
        "fc1": nn.Linear(channels, hidden),
        "act": make_activation(act),
        "drop1": nn.Dropout(drop),
        "fc2": nn.Linear(hidden, channels),
        "drop2": nn.Dropout(drop),
    }
    return nn.Sequential(OrderedDict(parts))


class TinyVitBlock(nn.Module):
    """Attention within windows, a depthwise convolution without a shortcut, a perceptron: (N, C, H, W) -> the same."""

    def __init__(self, spec: TinyVitSpec, place: BlockPlace, proj_drop: float) -> None:
        super().__init__()
        channels, side = place.channels, spec.window_sizes[place.stage]
        self.window = side, side
        self.attn = WindowAttention(channels, spec.num_heads[place.stage], self.window)
        self.drop_path1 = make_drop_path(place.drop_path)
        self.mlp = normed_mlp(channels, int(channels * spec.mlp_ratio), spec.act_layer, proj_drop)
        self.drop_path2 = make_drop_path(place.drop_path)
        self.local_conv = conv_norm(channels, channels, spec.local_conv_size, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = x + self.drop_path1(attend_in_windows(x, self.window, self.attn))
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (x + self.drop_path2(self.mlp(x))).permute(0, 3, 1, 2)


class TinyVit(ConvNet):
    """Patch embedding by two convolutions, four stages, pooling, norm, classifier `head.fc`."""

    spec: TinyVitSpec
    trunk = ("patch_embed", "stages.*")

    def build(self, proj_drop_rate: float = 0.0) -> None:
        spec, width = self.spec, self.spec.embed_dims[0]
        embedding = {
            "conv1": conv_norm(self.in_chans, width // 2, 3, 2),
            "act": make_activation(spec.act_layer),
            "conv2": conv_norm(width // 2, width, 3, 2),
        }
        self.patch_embed = nn.Sequential(OrderedDict(embedding))
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.embed_dims, spec.depths, strict=True)]
        for places in walk_stages(widths, width, 4, drop_path=spec.drop_path_rate):
            first, last = places[0], places[-1]
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            if last.stage == 0:
                parts["blocks"] = nn.Sequential(*(self.inverted_residual(place) for place in places))
            else:
                merged = three_convs(spec.act_layer, first.in_channels, first.channels, first.channels, first.stride)
                parts["downsample"] = nn.Sequential(OrderedDict(merged))
                blocks = (TinyVitBlock(spec, place, proj_drop_rate) for place in places)
                parts["blocks"] = nn.Sequential(*blocks)
            self.stages.append(nn.Sequential(parts))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
        self.num_features = spec.embed_dims[-1]
        self.head = NormMlpHead(self.num_features, partial(LayerNorm2d, eps=1e-5))

    def inverted_residual(self, place: BlockPlace) -> ResidualBlock:
        """With an activation behind the sum."""
        channels, act = place.channels, self.spec.act_layer
        parts = three_convs(act, channels, int(channels * self.spec.mbconv_expand_ratio), channels, 1)
        parts |= {"drop_path": make_drop_path(place.drop_path), "act3": make_activation(act)}
        return ResidualBlock(parts, act="act3", last_norm="conv3.bn")

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.head(x, is_map=not self.pools)

    def classifier_width(self, pooled: int) -> int:
        return self.head.width(pooled)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_linear(module)


def unused_keys(keys: Collection[str], model: TinyVit) -> set[str]:  # noqa: ARG001
    """The indices of the biases in the authors' files, which follow from the windows."""
    return {key for key in keys if key.endswith("attention_bias_idxs")}
