"""DLA variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import Spec, Weights

CHANNELS = 16, 32, 128, 256, 512, 1024
COMPACT = 16, 32, 64, 64, 128, 256


@dataclass(frozen=True, kw_only=True)
class DlaSpec(Spec):
    """One DLA.

    `levels` are the convolutions of the first two levels and the depths of the trees of the other four, `channels`
    their widths. `block` is "basic", "bottleneck" or "multi_scale" (Res2Net's). Its convolutions have `cardinality`
    groups, of `base_width` channels against 64 of the output. With `root_residual` what joins a tree adds its last
    input.
    """

    model_class: ClassVar[str] = "DLA"
    classifier: ClassVar[str] = "fc"

    choices = {"block": ("basic", "bottleneck", "multi_scale")}

    levels: tuple[int, ...]
    channels: tuple[int, ...] = CHANNELS
    block: str = "bottleneck"
    cardinality: int = 1
    base_width: int = 64
    root_residual: bool = False

    @property
    def first_conv(self) -> str:
        return "base_layer.0"


LEVELS_34 = 1, 1, 1, 2, 2, 1
LEVELS_60 = 1, 1, 1, 2, 3, 1
LEVELS_102 = 1, 1, 1, 3, 4, 1

# Table 1 of arXiv:1707.06484; blocks of Res2Net: table 3 of arXiv:1904.01169.
VARIANTS = {
    "dla34": DlaSpec(levels=LEVELS_34, channels=(16, 32, 64, 128, 256, 512), block="basic"),
    "dla46_c": DlaSpec(levels=LEVELS_34, channels=COMPACT),
    "dla46x_c": DlaSpec(levels=LEVELS_34, channels=COMPACT, cardinality=32, base_width=4),
    "dla60x_c": DlaSpec(levels=LEVELS_60, channels=COMPACT, cardinality=32, base_width=4),
    "dla60": DlaSpec(levels=LEVELS_60),
    "dla60x": DlaSpec(levels=LEVELS_60, cardinality=32, base_width=4),
    "dla60_res2net": DlaSpec(levels=LEVELS_60, block="multi_scale", base_width=28),
    "dla60_res2next": DlaSpec(levels=LEVELS_60, block="multi_scale", cardinality=8, base_width=4),
    "dla102": DlaSpec(levels=LEVELS_102, root_residual=True),
    "dla102x": DlaSpec(levels=LEVELS_102, cardinality=32, base_width=4, root_residual=True),
    "dla102x2": DlaSpec(levels=LEVELS_102, cardinality=64, base_width=4, root_residual=True),
    "dla169": DlaSpec(levels=(1, 1, 2, 3, 5, 1), root_residual=True),
}

IN1K = Weights(interpolation="bilinear", license="bsd-3-clause")

WEIGHTS = {f"{name}.in1k": IN1K.but(license="unknown") if "res2" in name else IN1K for name in VARIANTS}
