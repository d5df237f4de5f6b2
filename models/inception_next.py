"""InceptionNeXt: Yu et al., When Inception Meets ConvNeXt (arXiv:2303.16900)."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.inception_next import InceptionNextSpec
from zoo.models.base import in_sequence
from zoo.models.conv_head import ConvHead
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import TRUNCATED_NORMAL
from zoo.models.layers.layer_scale import ChannelScale, scale_maps
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.norm_downsample import norm_downsample
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("inception_next")


class InceptionDepthwiseConv(nn.Module):
    """A depthwise convolution in four parts: most channels stay, the others see a square, a row or a column."""

    def __init__(self, spec: InceptionNextSpec, channels: int, dilation: int) -> None:
        super().__init__()
        width, band = int(channels * spec.branch_ratio), spec.band_kernel
        conv = partial(make_conv, width, width, dilation=dilation, groups=width, bias=True)
        self.dwconv_hw = conv(3)
        self.dwconv_w = conv((1, band))
        self.dwconv_h = conv((band, 1))
        self.sizes = channels - 3 * width, width, width, width

    def forward(self, x: Tensor) -> Tensor:
        kept, square, row, column = x.split(self.sizes, 1)
        return torch.cat([kept, self.dwconv_hw(square), self.dwconv_w(row), self.dwconv_h(column)], 1)


class MetaNeXtBlock(ResidualBlock, ChannelScale):
    """Token mixer, norm and MLP, scaled by `gamma` and added to the input."""

    def __init__(self, spec: InceptionNextSpec, place: BlockPlace) -> None:
        channels, hidden = place.channels, int(place.channels * spec.mlp_ratios[place.stage])
        super().__init__(
            {
                "token_mixer": InceptionDepthwiseConv(spec, channels, place.dilation),
                "norm": nn.BatchNorm2d(channels),
                "mlp": Mlp(channels, hidden, use_conv=True),
            }
        )
        self.init_value = spec.ls_init_value
        self.gamma = nn.Parameter(torch.empty(channels))
        self.drop_path = make_drop_path(place.drop_path)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.gamma, self.init_value)

    def branch(self, x: Tensor) -> Tensor:
        return self.drop_path(scale_maps(super().branch(x), self.gamma))


class MetaNeXt(ConvHead, ConvNet):
    """Stem, four stages, pooling, a linear layer with a norm behind its activation, classifier `head.fc2`."""

    hidden_layers = ("head.fc1", "head.act", "head.norm")
    spec: InceptionNextSpec
    initial_values = TRUNCATED_NORMAL
    trunk = ("stem", "stages.*")

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        self.stem = nn.Sequential(nn.Conv2d(self.in_chans, spec.dims[0], 4, 4), nn.BatchNorm2d(spec.dims[0]))
        self.stages = nn.Sequential()
        walk = walk_stages(
            [[channels] * depth for channels, depth in zip(spec.dims, spec.depths, strict=True)],
            spec.dims[0],
            4,
            output_stride=output_stride,
            drop_path=drop_path_rate,
            own_dilation=True,
        )
        for places in walk:
            first, last = places[0], places[-1]
            downsample = nn.Identity() if first.stage == 0 else norm_downsample(first, nn.BatchNorm2d)
            blocks = nn.Sequential(*(MetaNeXtBlock(spec, place) for place in places))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
        self.num_features = spec.dims[-1]

    def make_hidden_layers(self, pooled: int) -> int:
        width = int(self.spec.head_ratio * self.num_features)
        self.head = nn.Sequential(
            OrderedDict(fc1=nn.Linear(pooled, width), act=nn.GELU(), norm=nn.LayerNorm(width, eps=1e-6))
        )
        return width

    def before_classifier(self, x: Tensor) -> Tensor:
        x = in_sequence(list(self.head.children())[:3])(x if self.pools else x.movedim(1, -1))
        return x if self.pools else x.movedim(-1, 1)
