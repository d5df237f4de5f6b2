"""Inception-ResNet v2: Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning (arXiv:1602.07261), figures 15 to 19.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.inception_resnet_v2 import InceptionResnetV2Spec
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.inception import Branches, Conv, ConvFactory, average_pool, chain, conv_factory, numbered

__getattr__ = family_attributes("inception_resnet_v2")


class ResidualBranches(Branches):
    """`act(x + scale * conv2d(branches(x)))`, where the 1x1 `conv2d` has a bias and no norm.

    The scale keeps the sum of many blocks stable in training (section 3.3 of the paper).
    """

    def __init__(self, conv: ConvFactory, channels: int, branches: list[list[Conv]], scale: float) -> None:
        super().__init__(numbered(*(chain(conv, channels, *rows) for rows in branches)))
        self.conv2d = nn.Conv2d(sum(rows[-1].channels for rows in branches), channels, 1)
        self.act: nn.Module = nn.ReLU(inplace=True)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.scale * self.conv2d(super().forward(x)))


def mixed_5b(conv: ConvFactory) -> Branches:
    return Branches(
        numbered(
            chain(conv, 192, Conv(96)),
            chain(conv, 192, Conv(48), Conv(64, 5)),
            chain(conv, 192, Conv(64), Conv(96, 3), Conv(96, 3)),
            chain(conv, 192, Conv(64), pool=average_pool()),
        )
    )


def mixed_6a(conv: ConvFactory) -> Branches:
    return Branches(
        numbered(
            chain(conv, 320, Conv(384, 3, 2)),
            chain(conv, 320, Conv(256), Conv(256, 3), Conv(384, 3, 2)),
            nn.MaxPool2d(3, stride=2),
        )
    )


def mixed_7a(conv: ConvFactory) -> Branches:
    return Branches(
        numbered(
            chain(conv, 1088, Conv(256), Conv(384, 3, 2)),
            chain(conv, 1088, Conv(256), Conv(288, 3, 2)),
            chain(conv, 1088, Conv(256), Conv(288, 3), Conv(320, 3, 2)),
            nn.MaxPool2d(3, stride=2),
        )
    )


def block35(conv: ConvFactory) -> ResidualBranches:
    rows = [[Conv(32)], [Conv(32), Conv(32, 3)], [Conv(32), Conv(48, 3), Conv(64, 3)]]
    return ResidualBranches(conv, 320, rows, scale=0.17)


def block17(conv: ConvFactory) -> ResidualBranches:
    rows = [[Conv(192)], [Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))]]
    return ResidualBranches(conv, 1088, rows, scale=0.10)


def block8(conv: ConvFactory, scale: float = 0.20) -> ResidualBranches:
    rows = [[Conv(192)], [Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1))]]
    return ResidualBranches(conv, 2080, rows, scale)


class InceptionResnetV2(ConvNet):
    """Stem, three stages of residual blocks of parallel branches, a 1x1, pooling, classifier `classif`."""

    spec: InceptionResnetV2Spec
    num_features = 1536

    def build(self) -> None:
        spec, in_chans = self.spec, self.in_chans
        conv = conv_factory(spec.norm_layer, spec.act_layer, spec.norm_eps)
        self.conv2d_1a = Conv(32, 3, 2).make(conv, in_chans)
        self.conv2d_2a = Conv(32, 3, padded=False).make(conv, 32)
        self.conv2d_2b = Conv(64, 3).make(conv, 32)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = Conv(80).make(conv, 64)
        self.conv2d_4a = Conv(192, 3, padded=False).make(conv, 80)
        self.maxpool_5a = nn.MaxPool2d(3, stride=2)
        self.mixed_5b = mixed_5b(conv)
        self.repeat = nn.Sequential(*(block35(conv) for _ in range(10)))
        self.mixed_6a = mixed_6a(conv)
        self.repeat_1 = nn.Sequential(*(block17(conv) for _ in range(20)))
        self.mixed_7a = mixed_7a(conv)
        self.repeat_2 = nn.Sequential(*(block8(conv) for _ in range(9)))
        self.block8 = block8(conv, scale=1.0)
        self.block8.act = nn.Identity()
        self.conv2d_7b = Conv(self.num_features).make(conv, 2080)
        self.feature_info = [
            {"num_chs": 64, "reduction": 2, "module": "conv2d_2b"},
            {"num_chs": 192, "reduction": 4, "module": "conv2d_4a"},
            {"num_chs": 320, "reduction": 8, "module": "repeat"},
            {"num_chs": 1088, "reduction": 16, "module": "repeat_1"},
            {"num_chs": 1536, "reduction": 32, "module": "conv2d_7b"},
        ]
        self.trunk = [name for name, _ in self.named_children()]

    def steps(self) -> Iterator[tuple[str, Step]]:
        for name in self.trunk:
            yield name, getattr(self, name)
