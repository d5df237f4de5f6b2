"""EfficientFormer: Li et al., Vision Transformers at MobileNet Speed (arXiv:2206.01191)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.efficientformer import EfficientFormerSpec
from zoo.models.base import Size, Step
from zoo.models.conv_net import ConvNet
from zoo.models.distilled import DistilledModel
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import NETWORK_KEYS, KeyTable, rename_keys
from zoo.models.layers.biased_attention import BiasedAttention, halved
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.layer_scale import LayerScale, LayerScale2d
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.patch_embed import as_pair, check_image_size
from zoo.models.layers.pool import TokenPool
from zoo.models.layers.pooling_mixer import PoolingMixer
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.token_init import init_linear
from zoo.models.layers.tracing import leaf_function

__getattr__ = family_attributes("efficientformer")

HEADS, KEY_DIM, VALUE_DIM = 8, 32, 128


class Attention(BiasedAttention):
    """Tokens (N, L, C) of a map of `size`. Which bias belongs to which pair is kept with the weights."""

    def __init__(self, channels: int, size: Size) -> None:
        super().__init__(HEADS, KEY_DIM, VALUE_DIM, size)
        self.register_buffer("attention_bias_idxs", self.attention_bias_idxs)
        self.qkv = nn.Linear(channels, HEADS * (2 * KEY_DIM + VALUE_DIM))
        self.proj = nn.Linear(HEADS * VALUE_DIM, channels)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.heads(self.qkv(x)).split([KEY_DIM, KEY_DIM, VALUE_DIM], dim=2)
        return self.proj(self.attend(query, key, value))


def normed_mlp(channels: int, hidden: int, drop: float) -> nn.Sequential:
    """A perceptron of pointwise convolutions, each with a norm."""
    parts = {
        "fc1": nn.Conv2d(channels, hidden, 1),
        "norm1": nn.BatchNorm2d(hidden),
        "act": nn.GELU(),
        "drop1": nn.Dropout(drop),
        "fc2": nn.Conv2d(hidden, channels, 1),
        "norm2": nn.BatchNorm2d(channels),
        "drop2": nn.Dropout(drop),
    }
    return nn.Sequential(OrderedDict(parts))


class MetaBlock(nn.Module):
    """A mixer of positions and a perceptron, each with a scale and a shortcut (equations 3 to 5).

    Maps (N, C, H, W) are pooled and normed in the perceptron; tokens, of a map of `size`, are normed first.
    """

    def __init__(self, spec: EfficientFormerSpec, place: BlockPlace, proj_drop: float, size: Size | None) -> None:
        super().__init__()
        channels, initial = place.channels, spec.layer_scale_init_value
        hidden = spec.mlp_ratio * channels
        self.norm1 = nn.LayerNorm(channels) if size else nn.Identity()
        self.token_mixer = Attention(channels, size) if size else PoolingMixer()
        self.ls1 = (LayerScale if size else LayerScale2d)(channels, initial)
        self.drop_path1 = make_drop_path(place.drop_path)
        self.norm2 = nn.LayerNorm(channels) if size else nn.Identity()
        self.mlp = Mlp(channels, hidden, drop=proj_drop) if size else normed_mlp(channels, hidden, proj_drop)
        self.ls2 = (LayerScale if size else LayerScale2d)(channels, initial)
        self.drop_path2 = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.ls1(self.token_mixer(self.norm1(x))))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


class ToTokens(nn.Module):
    """(N, C, H, W) -> (N, H * W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


@leaf_function
def as_map(x: Tensor, size: Size) -> Tensor:
    """Tokens (N, H * W, C) as a map (N, C, H, W); a map stays as it is."""
    return x if x.ndim == 4 else x.transpose(1, 2).unflatten(2, size)


class EfficientFormer(DistilledModel, ConvNet):
    """Stem, four stages, of which the last one ends with tokens, norm, pooling, classifiers `head` and `head_dist`.

    The biases of attention belong to the cells of the map, so the model takes images of one size.
    """

    spec: EfficientFormerSpec

    def build(self, proj_drop_rate: float = 0.0, drop_path_rate: float = 0.0) -> None:
        spec, width = self.spec, self.spec.embed_dims[0]
        self.img_size = as_pair(spec.img_size)
        stem = {
            "conv1": nn.Conv2d(self.in_chans, width // 2, 3, 2, 1),
            "norm1": nn.BatchNorm2d(width // 2),
            "act1": nn.ReLU(inplace=True),
            "conv2": nn.Conv2d(width // 2, width, 3, 2, 1),
            "norm2": nn.BatchNorm2d(width),
            "act2": nn.ReLU(inplace=True),
        }
        self.stem = nn.Sequential(OrderedDict(stem))
        self.map_size = halved(halved(self.img_size))
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.embed_dims, spec.depths, strict=True)]
        for places in walk_stages(widths, width, 4, drop_path=drop_path_rate):
            first, last = places[0], places[-1]
            downsample: nn.Module = nn.Identity()
            if first.stage:
                conv = nn.Conv2d(first.in_channels, first.channels, 3, 2, 1)
                downsample = nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(first.channels)))
                self.map_size = halved(self.map_size)
            num_vit = spec.num_vit if last.stage == len(widths) - 1 else 0
            num_pooling = max(len(places) - num_vit, 0)
            blocks: list[nn.Module] = [MetaBlock(spec, place, proj_drop_rate, None) for place in places[:num_pooling]]
            if num_vit:
                attention = [MetaBlock(spec, place, proj_drop_rate, self.map_size) for place in places[num_pooling:]]
                blocks += [ToTokens(), *attention]
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=nn.Sequential(*blocks))))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
        self.num_features = widths[-1][0]
        self.norm = nn.LayerNorm(self.num_features)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "stem", self._embed
        yield from list(super().steps())[1:]

    def _embed(self, x: Tensor) -> Tensor:
        check_image_size(x, as_pair(self.spec.img_size))
        return self.stem(x)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - there is one size
        return as_map(x, self.map_size)

    def make_pool(self, pool_type: str) -> nn.Module:
        return TokenPool(pool_type)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_linear(module)


AUTHORS_KEYS: KeyTable = {
    r"^patch_embed\.([03])\.": lambda layer: f"stem.conv{1 + int(layer[1]) // 3}.",
    r"^patch_embed\.([14])\.": lambda layer: f"stem.norm{1 + int(layer[1]) // 3}.",
    **NETWORK_KEYS,
    r"\.downsample\.proj\.": ".downsample.conv.",
    r"\.layer_scale_(\d)$": r".ls\1.gamma",
    r"^dist_head\.": "head_dist.",
}


def repair_keys(state_dict: Mapping[str, Tensor], model: EfficientFormer) -> dict[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files."""
    if "stem.conv1.weight" in state_dict:
        return dict(state_dict)
    return rename_keys(state_dict, AUTHORS_KEYS)
