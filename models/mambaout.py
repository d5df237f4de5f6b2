"""MambaOut: Yu and Wang, Do We Really Need Mamba for Vision? (arXiv:2405.07992)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.mambaout import MambaOutSpec
from zoo.models.base import Size
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.activation import make_activation
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.init import TRUNCATED_NORMAL
from zoo.models.layers.layer_scale import make_layer_scale
from zoo.models.layers.norm import LayerNorm2d
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("mambaout")

HEAD_RATIO = 4
make_norm = partial(nn.LayerNorm, eps=1e-6)


class Stem(nn.Module):
    """Two convolutions of stride 2: images (N, C, H, W) -> maps (N, H / 4, W / 4, D)."""

    def __init__(self, spec: MambaOutSpec, in_chans: int) -> None:
        super().__init__()
        channels = spec.dims[0]
        self.conv1 = nn.Conv2d(in_chans, channels // 2, 3, 2, 1)
        self.norm1 = LayerNorm2d(channels // 2) if spec.stem_mid_norm else nn.Identity()
        self.act = make_activation(spec.act_layer)
        self.conv2 = nn.Conv2d(channels // 2, channels, 3, 2, 1)
        self.norm2 = make_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.act(self.norm1(self.conv1(x))))
        return self.norm2(x.permute(0, 2, 3, 1))


class Downsample(nn.Module):
    """A convolution of stride 2 on maps (N, H, W, C), with a norm of its input or of its output."""

    def __init__(self, in_channels: int, channels: int, norm_first: bool) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.conv = nn.Conv2d(in_channels, channels, 3, 2, 1)
        self.norm = make_norm(in_channels if norm_first else channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_first:
            x = self.norm(x)
        x = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x if self.norm_first else self.norm(x)


class GatedConvBlock(nn.Module):
    """Gated CNN (arXiv:1612.08083) on maps (N, H, W, C): a gate, and values of which a part is convolved (figure 1)."""

    def __init__(self, spec: MambaOutSpec, place: BlockPlace) -> None:
        super().__init__()
        channels = place.channels
        hidden, convolved = int(spec.expansion_ratio * channels), int(spec.conv_ratio * channels)
        self.sizes = hidden, hidden - convolved, convolved
        self.norm = make_norm(channels)
        self.fc1 = nn.Linear(channels, 2 * hidden)
        self.act = make_activation(spec.act_layer, inplace=False)  # of a view that autograd guards
        self.conv = nn.Conv2d(convolved, convolved, spec.kernel_size, padding=spec.kernel_size // 2, groups=convolved)
        self.fc2 = nn.Linear(hidden, channels)
        self.ls = make_layer_scale(channels, spec.ls_init_value)
        self.drop_path = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        gate, kept, convolved = self.fc1(self.norm(x)).split(self.sizes, -1)
        convolved = self.conv(convolved.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        mixed = self.fc2(self.act(gate) * torch.cat([kept, convolved], -1))
        return x + self.drop_path(self.ls(mixed))


class MambaOut(ConvNet):
    """Stem, four stages, pooling, norm, a hidden layer, classifier `head.fc`. Inside the channels come last."""

    spec: MambaOutSpec
    initial_values = TRUNCATED_NORMAL

    def build(self, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        self.stem = Stem(spec, self.in_chans)
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.dims, spec.depths, strict=True)]
        for places in walk_stages(widths, spec.dims[0], 4, drop_path=drop_path_rate):
            first, last = places[0], places[-1]
            downsample: nn.Module = nn.Identity()
            if first.stage:
                downsample = Downsample(first.in_channels, first.channels, spec.downsample == "conv_nf")
            blocks = nn.Sequential(*(GatedConvBlock(spec, place) for place in places))
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
        self.num_features = spec.dims[-1]
        hidden = HEAD_RATIO * self.num_features
        self.head = NormMlpHead(self.num_features, LayerNorm2d, hidden)
        if spec.head_norm:
            self.head.pre_logits.add_module("norm", make_norm(hidden))

    def finish(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - the map has its own
        return x.permute(0, 3, 1, 2).contiguous()

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.head(x, is_map=not self.pools)

    def classifier_width(self, pooled: int) -> int:
        return self.head.width(pooled)


AUTHORS_KEYS: KeyTable = {
    r"^stages\.(\d)\.(\d+)\.": r"stages.\1.blocks.\2.",
    r"^downsample_layers\.0\.": "stem.",
    r"^downsample_layers\.(\d)\.": r"stages.\1.downsample.",
    r"^head\.fc1\.": "head.pre_logits.fc.",
    r"^head\.norm\.": "head.pre_logits.norm.",
    r"^head\.fc2\.": "head.fc.",
    r"^norm\.": "head.norm.",
}


def repair_keys(state_dict: Mapping[str, Tensor], model: MambaOut) -> dict[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files."""
    if "stem.conv1.weight" in state_dict:
        return dict(state_dict)
    return rename_keys(state_dict, AUTHORS_KEYS)
