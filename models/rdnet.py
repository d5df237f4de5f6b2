"""RDNet: Kim et al., DenseNets Reloaded: Paradigm Shift Beyond ResNets and ViTs (arXiv:2403.19588)."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.rdnet import RDNetSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import EffectiveSqueezeExcite
from zoo.models.layers.densely_connected import DenselyConnected
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.init import InitialValues, kaiming
from zoo.models.layers.layer_scale import ChannelScale, scale_maps
from zoo.models.layers.norm import norm_factory
from zoo.models.layers.norm_downsample import norm_downsample
from zoo.models.layers.stages import BlockPlace

__getattr__ = family_attributes("rdnet")

FIRST_WITH_ATTENTION = 2
"""Of the resolutions, counted from 0."""


def multiple_of_8(width: float) -> int:
    return int(width / 8) * 8


class Bottleneck(nn.Module):
    """A depthwise convolution, a norm, an MLP over the channels, and channel attention where `attends` says so."""

    def __init__(self, spec: RDNetSpec, in_channels: int, channels: int, attends: bool) -> None:
        super().__init__()
        hidden = multiple_of_8(in_channels * spec.expansion)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels),
            norm_factory(spec.norm_layer)(in_channels),
            nn.Conv2d(in_channels, hidden, 1),
            make_activation(spec.act_layer),
            nn.Conv2d(hidden, channels, 1),
            *([EffectiveSqueezeExcite(channels)] if attends else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class DenseBlock(ChannelScale):
    """New maps from all before, scaled by `gamma`."""

    def __init__(
        self, spec: RDNetSpec, in_channels: int, growth: int, attends: bool, drop_path: float, drop_rate: float
    ) -> None:
        super().__init__()
        self.init_value, self.drop_rate = spec.ls_init_value, drop_rate
        self.gamma = nn.Parameter(torch.empty(growth))
        self.layers = Bottleneck(spec, in_channels, growth, attends)
        self.drop_path = make_drop_path(drop_path)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.gamma, self.init_value)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = self.drop_path(scale_maps(self.layers(torch.cat(maps, 1)), self.gamma))
        return F.dropout(x, self.drop_rate, self.training) if self.drop_rate else x


class RDNet(ConvNet):
    """Stem, dense stages with transitions before them, pooling, norm, classifier `head.fc`.

    `proj_drop_rate` is dropout after each dense block.
    """

    spec: RDNetSpec
    initial_values = InitialValues(partial(kaiming, mode="fan_in"))
    trunk = ("stem", "dense_stages.*")

    def build(self, proj_drop_rate: float = 0.0, drop_path_rate: float = 0.0) -> None:
        spec, norm, depth = self.spec, norm_factory(self.spec.norm_layer), self.spec.stage_depth
        channels, reduction = spec.num_init_features, 4
        self.stem = nn.Sequential(nn.Conv2d(self.in_chans, channels, 4, 4), norm(channels))
        self.dense_stages = nn.Sequential()
        rates = iter(drop_path_schedule(drop_path_rate, depth * sum(map(len, spec.growth_rates))))
        for resolution, growth_rates in enumerate(spec.growth_rates):
            for position, growth in enumerate(growth_rates):
                stage = nn.Sequential()
                if len(self.dense_stages):
                    stride = 2 if position == 0 else 1
                    place = BlockPlace(channels, multiple_of_8(channels * spec.compression), stride)
                    stage.extend(norm_downsample(place, norm))
                    channels, reduction = place.channels, reduction * stride
                dense = DenselyConnected()
                for index in range(depth):
                    attends = resolution >= FIRST_WITH_ATTENTION
                    block = DenseBlock(spec, channels, growth, attends, next(rates), proj_drop_rate)
                    dense.add_module(f"dense_block{index}", block)
                    channels += growth
                self.dense_stages.append(stage.append(dense))
            self.add_level(channels, reduction, f"dense_stages.{len(self.dense_stages) - 1}")
        self.num_features = channels
        self.norm_pre = norm(channels) if spec.head_norm_first else nn.Identity()
        if not spec.head_norm_first:
            self.head = NormMlpHead(channels, norm)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm_pre(x)

    def before_classifier(self, x: Tensor) -> Tensor:
        return x if self.spec.head_norm_first else self.head(x, is_map=not self.pools)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def repair_keys(state_dict: MutableMapping[str, Tensor], model: nn.Module) -> MutableMapping[str, Tensor]:  # noqa: ARG001
    """The authors' files have a module more around the stem."""
    return {key.replace("stem.stem.", "stem.", 1): value for key, value in state_dict.items()}
