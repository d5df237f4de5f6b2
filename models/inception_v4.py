"""Inception v4: Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning
(arXiv:1602.07261), figures 3 to 9.
"""

from __future__ import annotations

import torch.nn as nn

from zoo.core.architectures.configs.inception_v4 import InceptionV4Spec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.conv_norm_act import ConvFactory, conv_factory
from zoo.models.layers.inception import Branch, Branches, Conv, Path, chain, numbered

__getattr__ = family_attributes("inception_v4")

ROW, COLUMN = (1, 7), (7, 1)
SHORT_ROW, SHORT_COLUMN = (1, 3), (3, 1)
LAST_4A = Conv(96, 3, padded=False)
MIXED_4A: list[Branch] = [[Conv(64), LAST_4A], [Conv(64), Conv(64, ROW), Conv(64, COLUMN), LAST_4A]]
INCEPTION_A: list[Branch] = [
    [Conv(96)],
    [Conv(64), Conv(96, 3)],
    [Conv(64), Conv(96, 3), Conv(96, 3)],
    ["avg", Conv(96)],
]
REDUCTION_A: list[Branch] = [[Conv(384, 3, 2)], [Conv(192), Conv(224, 3), Conv(256, 3, 2)], ["max"]]
INCEPTION_B: list[Branch] = [
    [Conv(384)],
    [Conv(192), Conv(224, ROW), Conv(256, COLUMN)],
    [Conv(192), Conv(192, COLUMN), Conv(224, ROW), Conv(224, COLUMN), Conv(256, ROW)],
    ["avg", Conv(128)],
]
REDUCTION_B: list[Branch] = [
    [Conv(192), Conv(192, 3, 2)],
    [Conv(256), Conv(256, ROW), Conv(320, COLUMN), Conv(320, 3, 2)],
    ["max"],
]


class StridedPair(Branches):
    """A strided convolution `conv` beside a strided maximum, side by side; `pool_first` puts the maximum first."""

    def __init__(self, conv: ConvFactory, in_channels: int, channels: int, pool_first: bool) -> None:
        paths: list[Path] = [
            [{"maxpool": nn.MaxPool2d(3, stride=2)}],
            [{"conv": Conv(channels, 3, 2).make(conv, in_channels)}],
        ]
        super().__init__(paths if pool_first else paths[::-1])


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
            [{"branch3": chain(conv, 1536, ["avg", Conv(256)])}],
        ]
    )


class InceptionV4(ConvNet):
    """Stem, three stages of blocks of parallel branches, pooling, classifier `last_linear`."""

    spec: InceptionV4Spec
    num_features = 1536
    trunk = ("features.*",)

    def build(self) -> None:
        spec = self.spec
        conv = conv_factory(spec.norm_layer, spec.act_layer, spec.norm_eps)
        self.features = nn.Sequential(
            Conv(32, 3, 2).make(conv, self.in_chans),
            Conv(32, 3, padded=False).make(conv, 32),
            Conv(64, 3).make(conv, 32),
            StridedPair(conv, 64, 96, pool_first=True),
            Branches(numbered(conv, 160, MIXED_4A)),
            StridedPair(conv, 192, 192, pool_first=False),
            *(Branches(numbered(conv, 384, INCEPTION_A)) for _ in range(4)),
            Branches(numbered(conv, 384, REDUCTION_A)),
            *(Branches(numbered(conv, 1024, INCEPTION_B)) for _ in range(7)),
            Branches(numbered(conv, 1024, REDUCTION_B)),
            *(inception_c(conv) for _ in range(3)),
        )
        for channels, index in zip((64, 160, 384, 1024, 1536), (2, 3, 9, 17, 21), strict=True):
            self.add_level(channels, 2 ** (len(self.feature_info) + 1), f"features.{index}")
