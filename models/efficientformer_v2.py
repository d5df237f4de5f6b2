"""EfficientFormerV2: Li et al., Rethinking Vision Transformers for MobileNet Size and Speed (arXiv:2212.08059)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import partial

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.efficientformer_v2 import EfficientFormerV2Spec
from zoo.models.base import Size, Step
from zoo.models.conv_net import ConvNet
from zoo.models.distilled import DistilledMean
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.biased_attention import BiasedAttention, halved
from zoo.models.layers.conv_norm_act import conv_factory
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.layer_scale import LayerScale2d
from zoo.models.layers.patch_embed import as_pair, check_image_size
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.token_init import init_linear

__getattr__ = family_attributes("efficientformer_v2")

HEADS, KEY_DIM, DOWN_KEY_DIM = 8, 32, 16
VALUE_RATIO = 4
"""Channels of a head's values per channel of its keys."""

make_conv = partial(conv_factory("batchnorm", "gelu"), act="identity", bias=True)


class LocalAttention(BiasedAttention):
    """Attention on maps whose result is added to what a depthwise convolution makes of the values.

    Args:
        in_channels, channels: of input and output.
        key_dim: channels of a head in queries and keys.
        size: height and width of the input.
        query: makes queries of the input: of all cells, or with `stride` 2 of every second row and column.
    """

    def __init__(
        self, in_channels: int, channels: int, key_dim: int, size: Size, query: nn.Module, stride: int = 1
    ) -> None:
        super().__init__(HEADS, key_dim, VALUE_RATIO * key_dim, size, stride=stride, use_conv=True)
        width = HEADS * self.value_dim
        self.q = query
        self.k = make_conv(in_channels, HEADS * key_dim)
        self.v = make_conv(in_channels, width)
        self.v_local = make_conv(width, width, 3, stride, groups=width)
        self.act = nn.GELU()
        self.proj = make_conv(width, channels)

    def find(self, x: Tensor) -> Tensor:
        """What the heads found, with the local part."""
        value = self.v(x)
        return self.attend(self.heads(self.q(x)), self.heads(self.k(x)), self.heads(value)) + self.v_local(value)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.act(self.find(x)))


class TalkingAttention(LocalAttention):
    """Attention whose heads mix their scores and their weights (Shazeer et al., arXiv:2003.02436).

    With `stride` 2 it works on a map of half the size, and what it finds is enlarged again.
    """

    def __init__(self, channels: int, size: Size, stride: int) -> None:
        inner = size if stride == 1 else halved(size)
        super().__init__(channels, channels, KEY_DIM, inner, make_conv(channels, HEADS * KEY_DIM))
        self.stride_conv = nn.Identity() if stride == 1 else make_conv(channels, channels, 3, stride, groups=channels)
        self.stride = stride
        self.talking_head1 = nn.Conv2d(HEADS, HEADS, 1)
        self.talking_head2 = nn.Conv2d(HEADS, HEADS, 1)

    def weigh(self, scores: Tensor) -> Tensor:
        return self.talking_head2(super().weigh(self.talking_head1(scores)))

    def find(self, x: Tensor) -> Tensor:
        found = super().find(self.stride_conv(x))
        return found if self.stride == 1 else F.interpolate(found, size=x.shape[2:], mode="bilinear")


class LocalGlobalQuery(nn.Module):
    """Queries of every second cell, which has seen its neighbours."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.local = nn.Conv2d(in_channels, in_channels, 3, 2, 1, groups=in_channels)
        self.proj = make_conv(in_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.local(x) + x[:, :, ::2, ::2])


class Downsample(nn.Module):
    """A strided convolution, and with `use_attn` attention to a map of half the size beside it."""

    def __init__(self, first: BlockPlace, size: Size, use_attn: bool) -> None:
        super().__init__()
        in_channels, channels = first.in_channels, first.channels
        self.conv = make_conv(in_channels, channels, 3, 2)
        self.attn = None
        if use_attn:
            query = LocalGlobalQuery(in_channels, HEADS * DOWN_KEY_DIM)
            self.attn = LocalAttention(in_channels, channels, DOWN_KEY_DIM, size, query, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if self.attn is None else self.attn(x) + self.conv(x)


def conv_mlp(channels: int, hidden: int, drop: float) -> nn.Sequential:
    """A perceptron of normed pointwise convolutions with a depthwise one between them."""
    parts = {
        "fc1": make_conv(channels, hidden, act="gelu"),
        "mid": make_conv(hidden, hidden, 3, groups=hidden, act="gelu"),
        "drop1": nn.Dropout(drop),
        "fc2": make_conv(hidden, channels),
        "drop2": nn.Dropout(drop),
    }
    return nn.Sequential(OrderedDict(parts))


class Block(nn.Module):
    """Attention, where it is given, and a perceptron, each with a scale and a shortcut."""

    def __init__(
        self, spec: EfficientFormerV2Spec, place: BlockPlace, attn: nn.Module | None, proj_drop: float
    ) -> None:
        super().__init__()
        channels, ratio = place.channels, spec.mlp_ratios[place.stage]
        self.token_mixer = attn
        if attn is not None:
            self.ls1 = LayerScale2d(channels, spec.layer_scale_init_value)
            self.drop_path1 = make_drop_path(place.drop_path)
        hidden = channels * (ratio if isinstance(ratio, int) else ratio[place.position])
        self.mlp = conv_mlp(channels, hidden, proj_drop)
        self.ls2 = LayerScale2d(channels, spec.layer_scale_init_value)
        self.drop_path2 = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        if self.token_mixer is not None:
            x = x + self.drop_path1(self.ls1(self.token_mixer(x)))
        return x + self.drop_path2(self.ls2(self.mlp(x)))


class EfficientFormerV2(DistilledMean, ConvNet):
    """Stem, four stages, norm, pooling, classifiers `head` and `head_dist`.

    The biases of attention belong to the cells of the map, so the model takes images of one size.
    """

    spec: EfficientFormerV2Spec

    def build(self, proj_drop_rate: float = 0.0) -> None:
        spec, width = self.spec, self.spec.embed_dims[0]
        self.img_size = as_pair(spec.img_size)
        stem = {
            "conv1": make_conv(self.in_chans, width // 2, 3, 2, act="gelu"),
            "conv2": make_conv(width // 2, width, 3, 2, act="gelu"),
        }
        self.stem = nn.Sequential(OrderedDict(stem))
        size = halved(halved(self.img_size))
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.embed_dims, spec.depths, strict=True)]
        for places in walk_stages(widths, width, 4, drop_path=spec.drop_path_rate):
            stage = places[0].stage
            downsample: nn.Module = nn.Identity()
            if stage:
                downsample = Downsample(places[0], size, use_attn=stage == 3)
                size = halved(size)
            blocks = nn.Sequential()
            for place in places:
                has_attention = stage >= 2 and place.position >= len(places) - spec.num_vit
                attn = TalkingAttention(place.channels, size, 2 if stage == 2 else 1) if has_attention else None
                blocks.append(Block(spec, place, attn, proj_drop_rate))
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
            self.feature_info.append(places[-1].level(f"stages.{stage}"))
        self.num_features = spec.embed_dims[-1]
        self.norm = nn.BatchNorm2d(self.num_features)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "stem", self._embed
        yield from list(super().steps())[1:]

    def _embed(self, x: Tensor) -> Tensor:
        check_image_size(x, as_pair(self.spec.img_size))
        return self.stem(x)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_linear(module)
