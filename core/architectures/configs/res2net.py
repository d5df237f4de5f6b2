"""Res2Net and Res2NeXt variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.resnet import DEEP_D, ResNetSpec
from zoo.core.architectures.records import Weights


@dataclass(frozen=True, kw_only=True)
class Res2NetSpec(ResNetSpec):
    """A ResNet whose bottlenecks have `scale` groups of maps, each of the width that a ResNet's 3x3 would have."""

    model_class: ClassVar[str] = "Res2Net"

    choices = {**ResNetSpec.choices, "aa_layer": ("",)}

    block: str = "res2net"
    base_width: int = 26
    scale: int = 4


def res2net(*layers: int, **fields: Any) -> Res2NetSpec:
    return Res2NetSpec(layers=layers, **fields)


VARIANTS = {
    "res2net50_14w_8s": res2net(3, 4, 6, 3, base_width=14, scale=8),
    "res2net50_26w_4s": res2net(3, 4, 6, 3),
    "res2net50_26w_6s": res2net(3, 4, 6, 3, scale=6),
    "res2net50_26w_8s": res2net(3, 4, 6, 3, scale=8),
    "res2net50_48w_2s": res2net(3, 4, 6, 3, base_width=48, scale=2),
    "res2net50d": res2net(3, 4, 6, 3, **DEEP_D),
    "res2net101_26w_4s": res2net(3, 4, 23, 3),
    "res2net101d": res2net(3, 4, 23, 3, **DEEP_D),
    "res2next50": res2net(3, 4, 6, 3, base_width=4, cardinality=8),
}

WEIGHTS = {f"{name}.in1k": Weights(interpolation="bilinear", license="unknown") for name in VARIANTS}
