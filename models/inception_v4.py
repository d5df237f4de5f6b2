"""Inception v4: Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning
(arXiv:1602.07261), figures 3 to 9.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn as nn

from zoo.core.architectures.configs.inception_v4 import InceptionV4Spec
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.inception import Branches, Conv, ConvFactory, Path, average_pool, chain, conv_factory, numbered

__getattr__ = family_attributes("inception_v4")

ROW, COLUMN = (1, 7), (7, 1)
SHORT_ROW, SHORT_COLUMN = (1, 3), (3, 1)


class StridedPair(Branches):
    """A strided convolution `conv` beside a strided maximum, side by side; `pool_first` puts the maximum first."""

    def __init__(self, conv: ConvFactory, in_channels: int, channels: int, pool_first: bool) -> None:
        paths: list[Path] = [
            [{"maxpool": nn.MaxPool2d(3, stride=2)}],
            [{"conv": Conv(channels, 3, 2).make(conv, in_channels)}],
        ]
        super().__init__(paths if pool_first else paths[::-1])


def mixed_4a(conv: ConvFactory) -> Branches:
    last = Conv(96, 3, padded=False)
    return Branches(
        numbered(
            chain(conv, 160, Conv(64), last),
            chain(conv, 160, Conv(64), Conv(64, ROW), Conv(64, COLUMN), last),
        )
    )


def inception_a(conv: ConvFactory) -> Branches:
    return Branches(
        numbered(
            chain(conv, 384, Conv(96)),
            chain(conv, 384, Conv(64), Conv(96, 3)),
            chain(conv, 384, Conv(64), Conv(96, 3), Conv(96, 3)),
            chain(conv, 384, Conv(96), pool=average_pool()),
        )
    )


def reduction_a(conv: ConvFactory) -> Branches:
    return Branches(
        numbered(
            chain(conv, 384, Conv(384, 3, 2)),
            chain(conv, 384, Conv(192), Conv(224, 3), Conv(256, 3, 2)),
            nn.MaxPool2d(3, stride=2),
        )
    )


def inception_b(conv: ConvFactory) -> Branches:
    return Branches(
        numbered(
            chain(conv, 1024, Conv(384)),
            chain(conv, 1024, Conv(192), Conv(224, ROW), Conv(256, COLUMN)),
            chain(conv, 1024, Conv(192), Conv(192, COLUMN), Conv(224, ROW), Conv(224, COLUMN), Conv(256, ROW)),
            chain(conv, 1024, Conv(128), pool=average_pool()),
        )
    )


def reduction_b(conv: ConvFactory) -> Branches:
    return Branches(
        numbered(
            chain(conv, 1024, Conv(192), Conv(192, 3, 2)),
            chain(conv, 1024, Conv(256), Conv(256, ROW), Conv(320, COLUMN), Conv(320, 3, 2)),
            nn.MaxPool2d(3, stride=2),
        )
    )


def inception_c(conv: ConvFactory) -> Branches:
    """Two of its branches end in a row and a column side by side."""
    row, column = Conv(256, SHORT_ROW), Conv(256, SHORT_COLUMN)
    return Branches(
        [
            [{"branch0": Conv(256).make(conv, 1536)}],
            [
                {"branch1_0": Conv(384).make(conv, 1536)},
                {"branch1_1a": row.make(conv, 384), "branch1_1b": column.make(conv, 384)},
            ],
            [
                {"branch2_0": Conv(384).make(conv, 1536)},
                {"branch2_1": Conv(448, SHORT_COLUMN).make(conv, 384)},
                {"branch2_2": Conv(512, SHORT_ROW).make(conv, 448)},
                {"branch2_3a": row.make(conv, 512), "branch2_3b": column.make(conv, 512)},
            ],
            [{"branch3": chain(conv, 1536, Conv(256), pool=average_pool())}],
        ]
    )


class InceptionV4(ConvNet):
    """Stem, three stages of blocks of parallel branches, pooling, classifier `last_linear`."""

    spec: InceptionV4Spec
    num_features = 1536

    def build(self) -> None:
        spec, in_chans = self.spec, self.in_chans
        conv = conv_factory(spec.norm_layer, spec.act_layer, spec.norm_eps)
        self.features = nn.Sequential(
            Conv(32, 3, 2).make(conv, in_chans),
            Conv(32, 3, padded=False).make(conv, 32),
            Conv(64, 3).make(conv, 32),
            StridedPair(conv, 64, 96, pool_first=True),
            mixed_4a(conv),
            StridedPair(conv, 192, 192, pool_first=False),
            *(inception_a(conv) for _ in range(4)),
            reduction_a(conv),
            *(inception_b(conv) for _ in range(7)),
            reduction_b(conv),
            *(inception_c(conv) for _ in range(3)),
        )
        self.feature_info = [
            {"num_chs": 64, "reduction": 2, "module": "features.2"},
            {"num_chs": 160, "reduction": 4, "module": "features.3"},
            {"num_chs": 384, "reduction": 8, "module": "features.9"},
            {"num_chs": 1024, "reduction": 16, "module": "features.17"},
            {"num_chs": 1536, "reduction": 32, "module": "features.21"},
        ]

    def steps(self) -> Iterator[tuple[str, Step]]:
        for name, block in self.features.named_children():
            yield f"features.{name}", block
