"""Inception-ResNet v2: Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning (arXiv:1602.07261), figures 15 to 19.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.inception_resnet_v2 import InceptionResnetV2Spec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.conv_norm_act import ConvFactory, conv_factory
from zoo.models.layers.inception import Branch, Branches, Conv, numbered

__getattr__ = family_attributes("inception_resnet_v2")


MIXED_5B: list[Branch] = [
    [Conv(96)],
    [Conv(48), Conv(64, 5)],
    [Conv(64), Conv(96, 3), Conv(96, 3)],
    ["avg", Conv(64)],
]
MIXED_6A: list[Branch] = [[Conv(384, 3, 2)], [Conv(256), Conv(256, 3), Conv(384, 3, 2)], ["max"]]
MIXED_7A: list[Branch] = [
    [Conv(256), Conv(384, 3, 2)],
    [Conv(256), Conv(288, 3, 2)],
    [Conv(256), Conv(288, 3), Conv(320, 3, 2)],
    ["max"],
]
BLOCK_35 = [[Conv(32)], [Conv(32), Conv(32, 3)], [Conv(32), Conv(48, 3), Conv(64, 3)]]
BLOCK_17 = [[Conv(192)], [Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))]]
BLOCK_8 = [[Conv(192)], [Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1))]]


class ResidualBranches(Branches):
    """`act(x + scale * conv2d(branches(x)))`, where the 1x1 `conv2d` has a bias and no norm.

    The scale keeps the sum of many blocks stable in training (section 3.3 of the paper).
    """

    def __init__(self, conv: ConvFactory, channels: int, branches: Sequence[Sequence[Conv]], scale: float) -> None:
        super().__init__(numbered(conv, channels, branches))
        self.conv2d = nn.Conv2d(sum(branch[-1].channels for branch in branches), channels, 1)
        self.act: nn.Module = nn.ReLU(inplace=True)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.scale * self.conv2d(super().forward(x)))


class InceptionResnetV2(ConvNet):
    """Stem, three stages of residual blocks of parallel branches, a 1x1, pooling, classifier `classif`."""

    spec: InceptionResnetV2Spec
    num_features = 1536

    def build(self) -> None:
        spec = self.spec
        conv = conv_factory(spec.norm_layer, spec.act_layer, spec.norm_eps)
        self.conv2d_1a = Conv(32, 3, 2).make(conv, self.in_chans)
        self.conv2d_2a = Conv(32, 3, padded=False).make(conv, 32)
        self.conv2d_2b = Conv(64, 3).make(conv, 32)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = Conv(80).make(conv, 64)
        self.conv2d_4a = Conv(192, 3, padded=False).make(conv, 80)
        self.maxpool_5a = nn.MaxPool2d(3, stride=2)
        self.mixed_5b = Branches(numbered(conv, 192, MIXED_5B))
        self.repeat = nn.Sequential(*(ResidualBranches(conv, 320, BLOCK_35, 0.17) for _ in range(10)))
        self.mixed_6a = Branches(numbered(conv, 320, MIXED_6A))
        self.repeat_1 = nn.Sequential(*(ResidualBranches(conv, 1088, BLOCK_17, 0.10) for _ in range(20)))
        self.mixed_7a = Branches(numbered(conv, 1088, MIXED_7A))
        self.repeat_2 = nn.Sequential(*(ResidualBranches(conv, 2080, BLOCK_8, 0.20) for _ in range(9)))
        self.block8 = ResidualBranches(conv, 2080, BLOCK_8, scale=1.0)
        self.block8.act = nn.Identity()
        self.conv2d_7b = Conv(self.num_features).make(conv, 2080)
        self.trunk = tuple(name for name, _ in self.named_children())
        for channels, module in zip(
            (64, 192, 320, 1088, 1536), ("conv2d_2b", "conv2d_4a", "repeat", "repeat_1", "conv2d_7b"), strict=True
        ):
            self.add_level(channels, 2 ** (len(self.feature_info) + 1), module)
