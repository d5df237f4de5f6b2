"""ResNeSt variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.resnet import DEEP_D, ResNetSpec
from zoo.core.architectures.records import Weights


@dataclass(frozen=True, kw_only=True)
class ResNestSpec(ResNetSpec):
    """A ResNet whose bottlenecks split their 3x3 convolution into `radix` paths, and average where they stride.

    The average is before that convolution with `avd_first`, else after it.
    """

    model_class: ClassVar[str] = "ResNest"

    choices = {**ResNetSpec.choices, "aa_layer": ("",), "attn_layer": ("",)}

    block: str = "resnest"
    radix: int = 2
    avd_first: bool = False


def resnest(*layers: int, **fields: Any) -> ResNestSpec:
    return ResNestSpec(layers=layers, **{**DEEP_D, **fields})


# The wide stem of the larger networks.
E = {"stem_width": 64}

VARIANTS = {
    "resnest14d": resnest(1, 1, 1, 1),
    "resnest26d": resnest(2, 2, 2, 2),
    "resnest50d": resnest(3, 4, 6, 3),
    "resnest50d_1s4x24d": resnest(3, 4, 6, 3, radix=1, cardinality=4, base_width=24, avd_first=True),
    "resnest50d_4s2x40d": resnest(3, 4, 6, 3, radix=4, cardinality=2, base_width=40, avd_first=True),
    "resnest101e": resnest(3, 4, 23, 3, **E),
    "resnest200e": resnest(3, 24, 36, 3, **E),
    "resnest269e": resnest(3, 30, 48, 8, **E),
}

BILINEAR = Weights(interpolation="bilinear")

WEIGHTS = {
    "resnest14d.gluon_in1k": BILINEAR,
    "resnest26d.gluon_in1k": BILINEAR,
    "resnest50d.in1k": BILINEAR,
    "resnest50d_1s4x24d.in1k": Weights(),
    "resnest50d_4s2x40d.in1k": Weights(),
    "resnest101e.in1k": BILINEAR.but(input_size=256),
    "resnest200e.in1k": Weights(input_size=320, crop_pct=0.909),
    "resnest269e.in1k": Weights(input_size=416, crop_pct=0.928),
}
