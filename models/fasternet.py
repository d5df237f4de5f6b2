"""FasterNet: Chen et al., Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks (arXiv:2303.03667)."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.fasternet import FasterNetSpec
from zoo.models.conv_head import ConvHead
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import TRUNCATED_NORMAL
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("fasternet")


class PartialConv(nn.Module):
    """A 3x3 convolution of the first channels; the others stay as they are (section 3.2 of the paper)."""

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        convolved = channels // parts
        self.partial_conv3 = make_conv(convolved, convolved, 3)
        self.sizes = convolved, channels - convolved

    def forward(self, x: Tensor) -> Tensor:
        convolved, kept = x.split(self.sizes, 1)
        return torch.cat([self.partial_conv3(convolved), kept], 1)


def make_block(spec: FasterNetSpec, place: BlockPlace) -> ResidualBlock:
    channels, hidden = place.channels, int(place.channels * spec.mlp_ratio)
    mlp = nn.Sequential(
        make_conv(channels, hidden, 1),
        nn.BatchNorm2d(hidden),
        make_activation(spec.act_layer),
        make_conv(hidden, channels, 1),
    )
    parts = {
        "spatial_mixing": PartialConv(channels, spec.n_div),
        "mlp": mlp,
        "drop_path": make_drop_path(place.drop_path),
    }
    return ResidualBlock(parts)


def patches(name: str, in_channels: int, channels: int, size: int) -> nn.Sequential:
    """A convolution `name` of patches, and a norm."""
    conv = nn.Conv2d(in_channels, channels, size, size, bias=False)
    return nn.Sequential(OrderedDict([(name, conv), ("norm", nn.BatchNorm2d(channels))]))


class FasterNet(ConvHead, ConvNet):
    """Patch embedding, stages, pooling, a convolution `conv_head`, classifier `classifier`."""

    spec: FasterNetSpec
    initial_values = TRUNCATED_NORMAL
    trunk = ("patch_embed", "stages.*")

    def build(self) -> None:
        spec = self.spec
        self.patch_embed = patches("proj", self.in_chans, spec.embed_dim, 4)
        self.stages = nn.Sequential()
        widths = [[spec.embed_dim * 2**stage] * depth for stage, depth in enumerate(spec.depths)]
        for places in walk_stages(widths, spec.embed_dim, 4, drop_path=spec.drop_path_rate):
            first, last = places[0], places[-1]
            downsample = (
                nn.Identity() if last.stage == 0 else patches("reduction", first.in_channels, first.channels, 2)
            )
            blocks = nn.Sequential(*(make_block(spec, place) for place in places))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
        self.num_features = widths[-1][0]

    def make_hidden_layers(self, pooled: int) -> int:
        self.conv_head = make_conv(pooled, self.spec.feature_dim, 1)
        self.act2 = make_activation(self.spec.act_layer)
        return self.spec.feature_dim
