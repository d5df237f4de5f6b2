"""Inception v3: Szegedy et al., Rethinking the Inception Architecture for Computer Vision (arXiv:1512.00567)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.inception_v3 import InceptionV3Spec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.conv_norm_act import ConvFactory, conv_factory
from zoo.models.layers.inception import Branches, Conv, Path
from zoo.models.layers.init import truncated_normal

__getattr__ = family_attributes("inception_v3")

# A branch is a chain of convolutions; where it ends in two side by side, the last entry is a pair.
Branch = Sequence[Conv | tuple[Conv, Conv]]
ROW, COLUMN = (1, 7), (7, 1)
SPLIT = (Conv(384, (1, 3)), Conv(384, (3, 1)))


def inception_a(pool_channels: int) -> dict[str, Branch]:
    """Figure 5 of the paper: 5x5, and as two 3x3."""
    return {
        "branch1x1": [Conv(64)],
        "branch5x5": [Conv(48), Conv(64, 5)],
        "branch3x3dbl": [Conv(64), Conv(96, 3), Conv(96, 3)],
        "branch_pool": [Conv(pool_channels)],
    }


def inception_c(width: int) -> dict[str, Branch]:
    """Figure 6 with n = 7: one and two 7x7, each as a row and a column."""
    return {
        "branch1x1": [Conv(192)],
        "branch7x7": [Conv(width), Conv(width, ROW), Conv(192, COLUMN)],
        "branch7x7dbl": [
            Conv(width),
            Conv(width, COLUMN),
            Conv(width, ROW),
            Conv(width, COLUMN),
            Conv(192, ROW),
        ],
        "branch_pool": [Conv(192)],
    }


INCEPTION_B: dict[str, Branch] = {
    "branch3x3": [Conv(384, 3, 2)],
    "branch3x3dbl": [Conv(64), Conv(96, 3), Conv(96, 3, 2)],
}
INCEPTION_D: dict[str, Branch] = {
    "branch3x3": [Conv(192), Conv(320, 3, 2)],
    "branch7x7x3": [Conv(192), Conv(192, ROW), Conv(192, COLUMN), Conv(192, 3, 2)],
}
INCEPTION_E: dict[str, Branch] = {
    "branch1x1": [Conv(320)],
    "branch3x3": [Conv(384), SPLIT],
    "branch3x3dbl": [Conv(448), Conv(384, 3), SPLIT],
    "branch_pool": [Conv(192)],
}

# The trunk by name: a convolution, a pooling (None), or the branches of a block.
TRUNK: dict[str, Conv | Mapping[str, Branch] | None] = {
    "Conv2d_1a_3x3": Conv(32, 3, 2),
    "Conv2d_2a_3x3": Conv(32, 3, padded=False),
    "Conv2d_2b_3x3": Conv(64, 3),
    "Pool1": None,
    "Conv2d_3b_1x1": Conv(80),
    "Conv2d_4a_3x3": Conv(192, 3, padded=False),
    "Pool2": None,
    "Mixed_5b": inception_a(32),
    "Mixed_5c": inception_a(64),
    "Mixed_5d": inception_a(64),
    "Mixed_6a": INCEPTION_B,
    "Mixed_6b": inception_c(128),
    "Mixed_6c": inception_c(160),
    "Mixed_6d": inception_c(160),
    "Mixed_6e": inception_c(192),
    "Mixed_7a": INCEPTION_D,
    "Mixed_7b": INCEPTION_E,
    "Mixed_7c": INCEPTION_E,
}
LEVELS = ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c")
AUX_LEVEL = 3


def out_channels(branch: Branch) -> int:
    last = branch[-1]
    return last.channels if isinstance(last, Conv) else sum(half.channels for half in last)


class InceptionBlock(Branches):
    """The branches of a table, and one that pools: average and a 1x1, or where the block strides a maximum."""

    def __init__(self, conv: ConvFactory, in_channels: int, branches: Mapping[str, Branch]) -> None:
        super().__init__([self._path(conv, in_channels, name, rows) for name, rows in branches.items()])
        self.out_channels = sum(out_channels(rows) for rows in branches.values())
        if "branch_pool" in branches:
            self.pool: nn.Module = nn.AvgPool2d(3, stride=1, padding=1)
            self.paths[-1].insert(0, ["pool"])
        else:
            self.pool = nn.MaxPool2d(3, stride=2)
            self.paths.append([["pool"]])
            self.out_channels += in_channels

    @staticmethod
    def _path(conv: ConvFactory, in_channels: int, name: str, rows: Branch) -> Path:
        path: list[dict[str, nn.Module]] = []
        for number, row in enumerate(rows, start=1):
            if isinstance(row, Conv):
                key = name if len(rows) == 1 else f"{name}_{number}"
                path.append({key: row.make(conv, in_channels)})
                in_channels = row.channels
            else:
                sides = zip("ab", row, strict=True)
                path.append({f"{name}_{number}{side}": half.make(conv, in_channels) for side, half in sides})
        return path


class AuxiliaryClassifier(nn.Module):
    """A second classifier on the maps of stride 16, for training (section 4 of the paper)."""

    def __init__(self, conv: ConvFactory, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv0 = Conv(128).make(conv, in_channels)
        self.conv1 = Conv(768, 5, padded=False).make(conv, 128)
        self.make_classifier(num_classes)

    def make_classifier(self, num_classes: int) -> None:
        like = self.conv1.conv.weight
        head = nn.Linear(768, num_classes) if num_classes else nn.Identity()
        self.fc = head.to(device=like.device, dtype=like.dtype)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, stride=3)))
        return self.fc(x.mean((2, 3)))


class InceptionV3(ConvNet):
    """Convolutions and blocks of parallel branches, pooling, classifier `fc`.

    With `aux_logits` a model has an auxiliary classifier, and returns a pair: the logits and that one's.
    """

    spec: InceptionV3Spec
    trunk = tuple(TRUNK)

    def build(self, aux_logits: bool = False) -> None:
        spec = self.spec
        self.aux_logits = aux_logits
        conv = conv_factory(spec.norm_layer, spec.act_layer, spec.norm_eps)
        self._make_trunk(conv, self.in_chans)
        if aux_logits:
            self.AuxLogits = AuxiliaryClassifier(conv, self.feature_info[AUX_LEVEL]["num_chs"], self.num_classes)

    def _make_trunk(self, conv: ConvFactory, channels: int) -> None:
        for name, part in TRUNK.items():
            if part is None:
                module: nn.Module = nn.MaxPool2d(3, stride=2)
            elif isinstance(part, Conv):
                module, channels = part.make(conv, channels), part.channels
            else:
                module = InceptionBlock(conv, channels, part)
                channels = module.out_channels
            self.add_module(name, module)
            if name in LEVELS:
                self.add_level(channels, 2 ** (len(self.feature_info) + 1), name)
        self.num_features = channels

    def forward(self, x: Tensor) -> Any:
        if not self.aux_logits:
            return super().forward(x)
        trunk, (aux_input,) = self.forward_intermediates(x, [AUX_LEVEL])
        return self.forward_head(trunk), self.AuxLogits(aux_input)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset_classifier(num_classes, global_pool)
        if self.aux_logits:
            self.AuxLogits.make_classifier(num_classes)
            if not next(self.parameters()).is_meta:
                self.init_module("AuxLogits.fc", self.AuxLogits.fc)

    def init_module(self, name: str, module: nn.Module) -> None:
        """Normal distributions as in TensorFlow's code, narrow ones for the auxiliary classifier."""
        super().init_module(name, module)
        if isinstance(module, nn.Conv2d | nn.Linear):
            std = {"AuxLogits.conv1.conv": 0.01, "AuxLogits.fc": 0.001}.get(name, 0.1)
            truncated_normal(std)(module)


def unused_keys(keys: Collection[str], model: nn.Module) -> set[str]:
    """The auxiliary classifier, which torchvision's file has, where the model has none."""
    return set() if getattr(model, "aux_logits", False) else {key for key in keys if key.startswith("AuxLogits.")}
