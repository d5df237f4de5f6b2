"""SwiftFormer: Shaker et al., Efficient Additive Attention for Mobile Vision Applications (arXiv:2303.15446)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.swiftformer import SwiftFormerSpec
from zoo.models.base import Size
from zoo.models.conv_net import ConvNet
from zoo.models.distilled import DistilledMean
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import NETWORK_KEYS, KeyTable, rename_keys
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import TRUNCATED_NORMAL
from zoo.models.layers.layer_scale import MapScale
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("swiftformer")


def conv_encoder(channels: int, hidden: int, drop_path: float = 0.0) -> ResidualBlock:
    """A depthwise convolution and a perceptron on one scaled branch (section 3.3)."""
    parts = {
        "dwconv": nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        "norm": nn.BatchNorm2d(channels),
        "pwconv1": nn.Conv2d(channels, hidden, 1),
        "act": nn.GELU(),
        "pwconv2": nn.Conv2d(hidden, channels, 1),
        "layer_scale": MapScale(channels, 1.0),
        "drop_path": make_drop_path(drop_path),
    }
    return ResidualBlock(parts, act="")


class AdditiveAttention(nn.Module):
    """Keys are scaled by one query, the sum of all by learned weights (section 3.2); there are no values.

    (N, C, H, W) -> (N, C, H, W), in time linear in the number of positions.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_query = nn.Linear(channels, channels)
        self.to_key = nn.Linear(channels, channels)
        self.w_g = nn.Parameter(torch.empty(channels, 1))
        self.proj = nn.Linear(channels, channels)
        self.final = nn.Linear(channels, channels)
        self.scale = channels**-0.5

    def reset_parameters(self) -> None:
        nn.init.normal_(self.w_g)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        query, key = F.normalize(self.to_query(x), dim=-1), F.normalize(self.to_key(x), dim=-1)
        weights = F.normalize(query @ self.w_g * self.scale, dim=1)  # (N, L, 1)
        x = self.proj((weights * query).sum(1, keepdim=True) * key) + query
        return self.final(x).transpose(1, 2).unflatten(2, size)


class NormedMlp(Mlp):
    """A perceptron behind a norm: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, hidden: int, drop: float) -> None:
        super().__init__(channels, hidden, drop=drop, use_conv=True)
        self.norm1 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm1(x))


class SwiftFormerEncoder(nn.Module):
    """A convolutional part, attention and a perceptron, each with a shortcut: the last block of a stage."""

    def __init__(self, spec: SwiftFormerSpec, place: BlockPlace, proj_drop: float) -> None:
        super().__init__()
        channels = place.channels
        self.local_representation = conv_encoder(channels, channels)
        self.attn = AdditiveAttention(channels)
        self.linear = NormedMlp(channels, spec.mlp_ratios * channels, proj_drop)
        self.drop_path = make_drop_path(place.drop_path)
        self.layer_scale_1 = MapScale(channels, spec.layer_scale_init_value)
        self.layer_scale_2 = MapScale(channels, spec.layer_scale_init_value)

    def forward(self, x: Tensor) -> Tensor:
        x = self.local_representation(x)
        x = x + self.drop_path(self.layer_scale_1(self.attn(x)))
        return x + self.drop_path(self.layer_scale_2(self.linear(x)))


class SwiftFormer(DistilledMean, ConvNet):
    """Stem, four stages, norm, pooling, classifiers `head` and `head_dist`.

    Images may have any size; the published networks learned from those of `img_size`, on which no tensor depends.
    """

    spec: SwiftFormerSpec
    initial_values = TRUNCATED_NORMAL

    def build(
        self,
        img_size: int | Size = 224,  # noqa: ARG002 - a published keyword
        proj_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        spec, width = self.spec, self.spec.embed_dims[0]
        self.stem = nn.Sequential(
            nn.Conv2d(self.in_chans, width // 2, 3, 2, 1),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 3, 2, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.embed_dims, spec.layers, strict=True)]
        for places in walk_stages(widths, width, 4, drop_path=drop_path_rate):
            first, *_, last = places
            downsample: nn.Module = nn.Identity()
            if first.stage:
                proj = nn.Conv2d(first.in_channels, first.channels, 3, 2, 1)
                downsample = nn.Sequential(OrderedDict(proj=proj, norm=nn.BatchNorm2d(first.channels)))
            blocks = nn.Sequential(
                *(conv_encoder(at.channels, spec.mlp_ratios * at.channels, at.drop_path) for at in places[:-1]),
                SwiftFormerEncoder(spec, last, proj_drop_rate),
            )
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
        self.num_features = spec.embed_dims[-1]
        self.norm = nn.BatchNorm2d(self.num_features)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)


AUTHORS_KEYS: KeyTable = {
    **NETWORK_KEYS,
    r"^patch_embed\.": "stem.",
    r"^dist_head\.": "head_dist.",
    r"\.attn\.Proj\.": ".attn.proj.",
    r"\.(layer_scale(_\d)?)$": r".\1.gamma",
}


def repair_keys(state_dict: Mapping[str, Tensor], model: SwiftFormer) -> dict[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files."""
    return rename_keys(state_dict, AUTHORS_KEYS)
