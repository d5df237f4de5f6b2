"""MetaFormer: PoolFormer, ConvFormer and CAFormer.

Yu et al., MetaFormer Is Actually What You Need for Vision (arXiv:2111.11418); Yu et al., MetaFormer Baselines for
Vision (arXiv:2210.13452).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.metaformer import MIXERS, MetaFormerSpec
from zoo.core.errors import UsageError
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys, reshape_to_fit
from zoo.models.layers.activation import SquaredReLU, StarReLU
from zoo.models.layers.attention import Attention
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.init import TRUNCATED_NORMAL
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.norm import LayerNorm2d, NormFactory, norm_factory
from zoo.models.layers.pooling_mixer import PoolingMixer
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("metaformer")

HEAD_DIM = 32
MLP_RATIO = 4


class UnbiasedGroupNorm(nn.GroupNorm):
    """Group norm with a weight and no bias; all channels are one group."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels, eps=1e-6, affine=False)
        self.weight = nn.Parameter(torch.empty(channels))
        nn.init.ones_(self.weight)

    def reset_parameters(self) -> None:
        if self.weight is not None:  # torch's constructor calls this before there is one
            nn.init.ones_(self.weight)


def make_norm(spec: MetaFormerSpec, mixer: str) -> NormFactory:
    """channels -> norm of the blocks of a stage: of tokens for attention, of maps for the others."""
    if mixer == "attention":
        return partial(nn.LayerNorm, eps=1e-6, bias=spec.norm_bias)
    if spec.norm_layer == "layernorm":
        return partial(LayerNorm2d, bias=spec.norm_bias)
    return norm_factory(spec.norm_layer) if spec.norm_bias else UnbiasedGroupNorm


class Scale(nn.Module):
    """A learned factor for each channel of (..., C), or of maps (N, C, H, W)."""

    def __init__(self, channels: int, initial: float, of_maps: bool) -> None:
        super().__init__()
        self.initial, self.of_maps = initial, of_maps
        self.scale = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.scale, self.initial)

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.scale.view(-1, 1, 1) if self.of_maps else self.scale)


def separable_conv(channels: int) -> nn.Sequential:
    """A depthwise convolution between two pointwise ones (MobileNetV2, arXiv:1801.04381)."""
    hidden = 2 * channels
    parts = {
        "pwconv1": nn.Conv2d(channels, hidden, 1, bias=False),
        "act1": StarReLU(),
        "dwconv": nn.Conv2d(hidden, hidden, 7, padding=3, groups=hidden, bias=False),
        "pwconv2": nn.Conv2d(hidden, channels, 1, bias=False),
    }
    return nn.Sequential(OrderedDict(parts))


def make_mixer(mixer: str, channels: int, proj_drop: float) -> nn.Module:
    """What mixes the positions. Raises UsageError for an unknown name."""
    if mixer not in MIXERS:
        raise UsageError(f"A token mixer must be one of {', '.join(MIXERS)}, found {mixer!r}.")
    if mixer == "attention":
        heads = max(channels // HEAD_DIM, 1)
        return Attention(channels, heads, qkv_bias=False, proj_bias=False, proj_drop=proj_drop)
    return PoolingMixer() if mixer == "pool" else separable_conv(channels)


class MetaFormerBlock(nn.Module):
    """A token mixer and a perceptron, each behind a norm, with scales of branch and shortcut."""

    def __init__(self, spec: MetaFormerSpec, place: BlockPlace, proj_drop: float) -> None:
        super().__init__()
        channels, mixer = place.channels, spec.token_mixers[place.stage]
        of_maps, norm = mixer != "attention", make_norm(spec, mixer)

        def scale(initial: float | None) -> nn.Module:
            return nn.Identity() if initial is None else Scale(channels, initial, of_maps)

        res_init = spec.res_scale_init_values[place.stage]
        self.norm1 = norm(channels)
        self.token_mixer = make_mixer(mixer, channels, proj_drop)
        self.drop_path1 = make_drop_path(place.drop_path)
        self.layer_scale1, self.res_scale1 = scale(spec.ls_init_value), scale(res_init)
        self.norm2 = norm(channels)
        self.mlp = Mlp(
            channels, MLP_RATIO * channels, act=spec.mlp_act, bias=spec.mlp_bias, drop=proj_drop, use_conv=of_maps
        )
        self.drop_path2 = make_drop_path(place.drop_path)
        self.layer_scale2, self.res_scale2 = scale(spec.ls_init_value), scale(res_init)

    def forward(self, x: Tensor) -> Tensor:
        x = self.res_scale1(x) + self.drop_path1(self.layer_scale1(self.token_mixer(self.norm1(x))))
        return self.res_scale2(x) + self.drop_path2(self.layer_scale2(self.mlp(self.norm2(x))))


class TokenStage(nn.Module):
    """A stage of maps whose blocks read tokens (N, L, C)."""

    def __init__(self, downsample: nn.Module, blocks: nn.Sequential) -> None:
        super().__init__()
        self.downsample, self.blocks = downsample, blocks

    def forward(self, x: Tensor) -> Tensor:
        x = self.downsample(x)
        size = x.shape[2:]
        return self.blocks(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, size)


class MlpClassifier(nn.Sequential):
    """A hidden layer, squared ReLU, a norm, and the classifier proper, `fc2`."""

    def __init__(self, in_features: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden)
        self.act = SquaredReLU()
        self.norm = nn.LayerNorm(hidden, eps=1e-6)
        self.fc2 = nn.Linear(hidden, num_classes)


class MetaFormer(ConvNet):
    """Stem, four stages, pooling, norm, classifier `head.fc`, which has a hidden layer where the spec says so."""

    spec: MetaFormerSpec
    initial_values = TRUNCATED_NORMAL

    def build(self, proj_drop_rate: float = 0.0, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        norm = partial(LayerNorm2d, bias=False)
        stem: OrderedDict[str, nn.Module] = OrderedDict(conv=nn.Conv2d(self.in_chans, spec.dims[0], 7, 4, 2))
        if spec.downsample_norm:
            stem["norm"] = norm(spec.dims[0])
        self.stem = nn.Sequential(stem)
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.dims, spec.depths, strict=True)]
        for places in walk_stages(widths, spec.dims[0], 4, drop_path=drop_path_rate):
            first, last = places[0], places[-1]
            downsample: nn.Module = nn.Identity()
            if first.in_channels != first.channels:
                down: OrderedDict[str, nn.Module] = OrderedDict()
                if spec.downsample_norm:
                    down["norm"] = norm(first.in_channels)
                down["conv"] = nn.Conv2d(first.in_channels, first.channels, 3, 2, 1)
                downsample = nn.Sequential(down)
            blocks = nn.Sequential(*(MetaFormerBlock(spec, place, proj_drop_rate) for place in places))
            if spec.token_mixers[first.stage] == "attention":
                self.stages.append(TokenStage(downsample, blocks))
            else:
                self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
        self.num_features = spec.dims[-1]
        self.head = NormMlpHead(self.num_features, LayerNorm2d)

    @property
    def classifier_paths(self) -> tuple[str, ...]:
        """The hidden layer belongs to the classifier; the spec names its last layer."""
        return ("head.fc",)

    def make_classifier(self) -> nn.Module:
        if not (self.spec.use_mlp_head and self.num_classes):
            return super().make_classifier()
        return MlpClassifier(self.head_hidden_size, MLP_RATIO * self.num_features, self.num_classes)

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.head(x, is_map=not self.pools)

    def classifier_width(self, pooled: int) -> int:
        return self.head.width(pooled)


AUTHORS_KEYS: KeyTable = {
    # The first PoolFormer counts downsampling among the stages.
    r"^patch_embed\.proj\.": "stem.conv.",
    r"^network\.([135])\.proj\.": lambda found: f"stages.{(int(found[1]) + 1) // 2}.downsample.conv.",
    r"^network\.([0246])\.": lambda found: f"stages.{int(found[1]) // 2}.",
    r"\.layer_scale_(\d)$": r".layer_scale\1.scale",
    # The others.
    r"^stages\.(\d)\.(\d+)\.": r"stages.\1.blocks.\2.",
    r"^downsample_layers\.0\.": "stem.",
    r"^downsample_layers\.(\d)\.": r"stages.\1.downsample.",
    r"\.(pre|post)_norm\.": ".norm.",
    r"^head\.": "head.fc.",
    r"^norm\.": "head.norm.",
}


def repair_keys(state_dict: Mapping[str, Tensor], model: MetaFormer) -> dict[str, Tensor]:
    """The names of the authors' files, whose linear layers become the 1x1 convolutions of maps."""
    if "stem.conv.weight" in state_dict:
        return dict(state_dict)
    return reshape_to_fit(rename_keys(state_dict, AUTHORS_KEYS), model.state_dict())
