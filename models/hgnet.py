"""PP-HGNet, versions 1 and 2: PaddlePaddle's networks for GPUs, one-shot aggregation as in VoVNet (arXiv:1904.09730).

Described at https://github.com/PaddlePaddle/PaddleClas/blob/develop/docs/zh_CN/models/ImageNet1k/PP-HGNetV2.md.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.hgnet import HgNetSpec
from zoo.models.conv_head import ConvHead
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_norm_act import ConvFactory, ConvNormAct
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import KAIMING_UNBIASED
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.one_shot import OneShotChain
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("hgnet")


class LearnableAffine(nn.Module):
    """`scale * x + bias`, both a single number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, self.scale, x)


class AffineConvNormAct(ConvNormAct):
    """Convolution, norm, activation and, where it is activated, a learned scale and shift."""

    def __init__(self, *args: Any, act: str | None = None, **options: Any) -> None:
        super().__init__(*args, act=act, **options)
        self.lab = LearnableAffine() if act is None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lab(super().forward(x))
        return out


class ChannelGate(nn.Module):
    """Effective squeeze-and-excitation (arXiv:1911.06667) with a sigmoid, key `conv`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv(x.mean((2, 3), keepdim=True)).sigmoid()


class ForkedStem(nn.Module):
    """The stem of version 2: two small convolutions beside a pooling, between convolutions that stride."""

    def __init__(self, conv: ConvFactory, in_channels: int, width: int, channels: int) -> None:
        super().__init__()
        self.stem1 = conv(in_channels, width, 3, 2)
        self.stem2a = conv(width, width // 2, 2)
        self.stem2b = conv(width // 2, width, 2)
        self.stem3 = conv(2 * width, width, 3, 2)
        self.stem4 = conv(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        # A row and a column of zeros, so that windows of 2x2 keep the size.
        x = F.pad(self.stem1(x), (0, 1, 0, 1))
        fork = self.stem2b(F.pad(self.stem2a(x), (0, 1, 0, 1)))
        return self.stem4(self.stem3(torch.cat([F.max_pool2d(x, 2, 1), fork], 1)))


class HighPerfGpuNet(ConvHead, ConvNet):
    """Stem, four stages of one-shot aggregation, pooling, a convolution, classifier `head.fc`."""

    spec: HgNetSpec
    initial_values = KAIMING_UNBIASED
    hidden_layers = ("head.last_conv",)

    def build(self, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        norm_act = norm_act_factory("batchnorm", "relu")
        conv = partial(AffineConvNormAct if spec.use_lab else ConvNormAct, norm_act=norm_act)
        if spec.stem_type == "v1":
            pairs = enumerate(pairwise((self.in_chans, *spec.stem_chs)))
            convs = nn.Sequential(*(conv(*pair, 3, 1 if index else 2) for index, pair in pairs))
            self.stem: nn.Module = nn.Sequential(OrderedDict(stem=convs, pool=nn.MaxPool2d(3, 2, 1)))
        else:
            self.stem = ForkedStem(conv, self.in_chans, *spec.stem_chs)
        widths = [[stage.channels] * stage.depth for stage in spec.stages]
        self.stages = nn.Sequential()
        for places in walk_stages(widths, spec.stem_chs[-1], 4, drop_path=drop_path_rate):
            width, stride = places[0].in_channels, places[0].stride
            downsample = conv(width, width, 3, stride, act="identity", groups=width) if stride > 1 else nn.Identity()
            blocks = nn.Sequential(*(self.make_block(conv, place) for place in places))
            self.feature_info.append(places[-1].level(f"stages.{len(self.stages)}"))
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
        self.num_features = spec.stages[-1].channels

    def make_block(self, conv: ConvFactory, place: BlockPlace) -> ResidualBlock:
        stage, channels, in_channels = self.spec.stages[place.stage], place.channels, place.in_channels

        def layer(channels: int) -> nn.Module:
            if not stage.light:
                return conv(channels, stage.width, stage.kernel)
            pointwise = conv(channels, stage.width, act="identity")
            depthwise = conv(stage.width, stage.width, stage.kernel, groups=stage.width)
            return nn.Sequential(OrderedDict(conv1=pointwise, conv2=depthwise))

        starts = [in_channels, *(stage.width,) * (self.spec.num_layers - 1)]
        total = in_channels + self.spec.num_layers * stage.width
        if self.spec.stem_type == "v1":
            aggregation = nn.Sequential(conv(total, channels), ChannelGate(channels))
        else:
            aggregation = nn.Sequential(conv(total, channels // 2), conv(channels // 2, channels))
        parts = {
            "layers": OneShotChain(map(layer, starts)),
            "aggregation": aggregation,
            "drop_path": make_drop_path(0.0 if place.opens_stage else place.drop_path),
            "shortcut": None if place.opens_stage else nn.Identity(),
        }
        return ResidualBlock(parts, shortcut="shortcut")

    def make_hidden_layers(self, pooled: int) -> int:
        hidden = self.spec.head_hidden_size
        affine = [LearnableAffine()] if self.spec.use_lab else []
        conv = nn.Conv2d(pooled, hidden, 1, bias=False)
        self.head = nn.Module()
        self.head.last_conv = nn.Sequential(conv, make_activation("relu"), *affine)
        return hidden
