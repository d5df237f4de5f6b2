"""Selective kernel ResNets and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.resnet import DEEP_D, ResNetSpec, X32x4
from zoo.core.architectures.records import Weights


@dataclass(frozen=True, kw_only=True)
class SkNetSpec(ResNetSpec):
    """A ResNet whose strided 3x3 convolutions select their kernel; `block` is "sk_basic" or "sk_bottleneck".

    The selecting attention is `sk_ratio` as wide as the convolution, a multiple of `sk_divisor`. With `split_input`
    each kernel reads its half of the channels.
    """

    model_class: ClassVar[str] = "SkNet"

    zero_init_last: bool = False
    sk_ratio: float = 1 / 16
    sk_divisor: int = 8
    split_input: bool = True


def basic(*layers: int) -> SkNetSpec:
    return SkNetSpec(block="sk_basic", layers=layers, sk_ratio=1 / 8, sk_divisor=16)


def bottleneck(*layers: int, **fields: Any) -> SkNetSpec:
    return SkNetSpec(block="sk_bottleneck", layers=layers, **fields)


VARIANTS = {
    "skresnet18": basic(2, 2, 2, 2),
    "skresnet34": basic(3, 4, 6, 3),
    "skresnet50": bottleneck(3, 4, 6, 3),
    "skresnet50d": bottleneck(3, 4, 6, 3, **DEEP_D),
    # SKNet-50 of the paper.
    "skresnext50_32x4d": bottleneck(3, 4, 6, 3, **X32x4, sk_divisor=32, split_input=False),
}

WEIGHTS = {
    "skresnet18.ra_in1k": Weights(),
    "skresnet34.ra_in1k": Weights(),
    "skresnet50.untrained": Weights(hub_id=""),
    "skresnet50d.untrained": Weights(hub_id=""),
    "skresnext50_32x4d.ra_in1k": Weights(),
}
