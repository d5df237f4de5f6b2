"""DaViT: Ding et al., Dual Attention Vision Transformers (arXiv:2204.03645)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.davit import DaVitSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.attention import Attention, merge_heads
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.norm import LayerNorm2d
from zoo.models.layers.patch_embed import pad_to_patches
from zoo.models.layers.position_conv import PositionConv
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.token_init import init_linear
from zoo.models.layers.window import attend_in_windows

__getattr__ = family_attributes("davit")

NORM_EPS = 1e-5


class SpatialAttention(Attention):
    """Attention within the windows of a map (N, H, W, C)."""

    def __init__(self, spec: DaVitSpec, channels: int, num_heads: int) -> None:
        super().__init__(channels, num_heads, qkv_bias=spec.qkv_bias)
        self.window = spec.window_size, spec.window_size

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # there are no positions
        return attend_in_windows(x, self.window, super().forward)


class ChannelAttention(Attention):
    """Attention among the channels of a head, each being a token, over a map (N, H, W, C) (section 3.3).

    The published code gives the parts of the layer `qkv` other roles than the paper: keys, values and queries are what
    the first form reads as queries, keys and values. Florence-2's form reads them by their names, and scales by the
    number of positions instead of that of channels.
    """

    def __init__(self, spec: DaVitSpec, channels: int, num_heads: int) -> None:
        super().__init__(channels, num_heads, qkv_bias=spec.qkv_bias)
        self.by_name = spec.channel_attn_v2

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # there are no positions
        q, k, v = self._project(x.flatten(1, 2))
        if not self.by_name:
            q, k, v = k, v, q
        scale = (q.shape[2] if self.by_name else self.head_dim) ** -0.5
        weights = ((scale * q).transpose(2, 3) @ k).softmax(-1)
        found = v @ weights.transpose(2, 3)
        return self.proj(merge_heads(found)).unflatten(1, x.shape[1:3])


class DaVitBlock(nn.Module):
    """Attention and a perceptron, each behind a convolution and with a shortcut: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, spec: DaVitSpec, place: BlockPlace, attn: nn.Module) -> None:
        super().__init__()
        channels = place.channels
        self.cpe1 = PositionConv(channels)
        self.norm1 = nn.LayerNorm(channels, eps=NORM_EPS)
        self.attn = attn
        self.drop_path1 = make_drop_path(place.drop_path)
        self.cpe2 = PositionConv(channels)
        self.norm2 = nn.LayerNorm(channels, eps=NORM_EPS)
        self.mlp = Mlp(channels, int(channels * spec.mlp_ratio))
        self.drop_path2 = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cpe1(x).permute(0, 2, 3, 1)
        x = x + self.drop_path1(self.attn(self.norm1(x)))
        x = self.cpe2(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (x + self.drop_path2(self.mlp(self.norm2(x)))).permute(0, 3, 1, 2)


def make_pair(spec: DaVitSpec, place: BlockPlace) -> nn.Sequential:
    """A block of spatial and one of channel attention."""
    heads = spec.num_heads[place.stage]
    kinds = SpatialAttention, ChannelAttention
    blocks = [DaVitBlock(spec, place, kind(spec, place.channels, heads)) for kind in kinds]
    names = ("spatial_block", "channel_block") if spec.named_blocks else ("0", "1")
    return nn.Sequential(OrderedDict(zip(names, blocks, strict=True)))


class Stem(nn.Module):
    """Overlapping patches of an image, filled up to a multiple of the stride, and a norm."""

    def __init__(self, in_chans: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, channels, 7, 4, 3)
        self.norm = LayerNorm2d(channels, NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(pad_to_patches(x, (4, 4))))


class Downsample(nn.Module):
    """A norm, and a convolution of stride 2; one with an even kernel fills up the map."""

    def __init__(self, in_channels: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(in_channels, NORM_EPS)
        self.filled = kernel % 2 == 0
        self.conv = nn.Conv2d(in_channels, channels, kernel, 2, 0 if self.filled else kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        kernel = self.conv.kernel_size
        return self.conv(pad_to_patches(x, (kernel[0], kernel[1])) if self.filled else x)


class DaVit(ConvNet):
    """Stem, four stages of pairs of blocks, pooling, norm, classifier `head.fc`."""

    spec: DaVitSpec

    def build(self, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        self.stem = Stem(self.in_chans, spec.embed_dims[0])
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.embed_dims, spec.depths, strict=True)]
        for places in walk_stages(widths, spec.embed_dims[0], 4, drop_path=drop_path_rate):
            first, last = places[0], places[-1]
            downsample: nn.Module = nn.Identity()
            if first.stage:
                downsample = Downsample(first.in_channels, first.channels, spec.down_kernel_size)
            blocks = nn.Sequential(*(make_pair(spec, place) for place in places))
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
        self.num_features = spec.embed_dims[-1]
        self.head = NormMlpHead(self.num_features, lambda channels: LayerNorm2d(channels, NORM_EPS))

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.head(x, is_map=not self.pools)

    def classifier_width(self, pooled: int) -> int:
        return self.head.width(pooled)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_linear(module)


AUTHORS_KEYS: KeyTable = {
    r"^patch_embeds\.": "convs.",
    r"^main_blocks\.": "blocks.",
    r"^head\.": "head.fc.",
    r"^norms\.": "head.norm.",
    r"\.cpe\.0\.": ".cpe1.",
    r"\.cpe\.1\.": ".cpe2.",
}
FLORENCE_PREFIX = "vision_tower."
FLORENCE_KEYS: KeyTable = {
    rf"^{FLORENCE_PREFIX}": "",
    r"\.(window|channel)_attn\.norm\.": ".norm1.",
    r"\.(window|channel)_attn\.fn\.": ".attn.",
    r"\.ffn\.norm\.": ".norm2.",
    r"\.ffn\.fn\.net\.": ".mlp.",
    r"\.conv([12])\.fn\.dw\.": r".cpe\1.proj.",
}
STAGE_KEYS: KeyTable = {
    r"^convs\.(\d)\.proj\.": r"convs.\1.conv.",
    r"^convs\.0\.": "stem.",
    r"^convs\.(\d)\.": r"stages.\1.downsample.",
    r"^blocks\.(\d)\.": r"stages.\1.blocks.",
}


def is_florence(keys: Collection[str]) -> bool:
    return f"{FLORENCE_PREFIX}convs.0.proj.weight" in keys


def unused_keys(keys: Collection[str], model: DaVit) -> set[str]:  # noqa: ARG001
    """What Florence-2 has beside the image tower."""
    return {key for key in keys if not key.startswith(FLORENCE_PREFIX)} if is_florence(keys) else set()


def repair_keys(state_dict: Mapping[str, Tensor], model: DaVit) -> dict[str, Tensor]:
    """The names of the authors' files, and of Florence-2's, whose tower lacks the norm before the classifier."""
    if "stem.conv.weight" in state_dict:
        return dict(state_dict)
    if not is_florence(state_dict):
        return rename_keys(state_dict, {**AUTHORS_KEYS, **STAGE_KEYS})
    initial = {
        "head.norm.weight": torch.ones(model.num_features),
        "head.norm.bias": torch.zeros(model.num_features),
    }
    return initial | rename_keys(state_dict, {**FLORENCE_KEYS, **STAGE_KEYS})
