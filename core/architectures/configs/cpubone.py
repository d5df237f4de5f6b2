"""CPUBone variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.configs.lowformer import WIDE, LowFormerSpec
from zoo.core.architectures.records import ClassifierInit, Weights


@dataclass(frozen=True, kw_only=True)
class CPUBoneSpec(LowFormerSpec):
    """One CPUBone.

    `local_norm` says which convolutions of the wide blocks with attention have a norm: "proj" the last one,
    "depth_proj" the depthwise one too, "all" the first as well. The others have a bias.
    """

    model_class: ClassVar[str] = "CPUBone"
    classifier: ClassVar[str] = "head.classifier.linear"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit(zero_bias=False)

    choices = {"local_norm": ("proj", "depth_proj", "all")}

    opening_expand: int = 4
    proj_drop_rate: float = 0.1
    local_norm: str = "proj"


def b1(local_norm: str) -> CPUBoneSpec:
    return CPUBoneSpec(width=16, depths=(0, 1, 1, 5, 5), opening_expand=6, local_norm=local_norm)


def b2(width: int, local_norm: str, drop_path_rate: float = 0.0) -> CPUBoneSpec:
    return CPUBoneSpec(
        width=width,
        depths=(0, 1, 1, 6, 6),
        opening_expand=6,
        head_widths=WIDE,
        local_norm=local_norm,
        drop_path_rate=drop_path_rate,
    )


VARIANTS = {
    "cpubone_nano": CPUBoneSpec(width=12, depths=(0, 1, 1, 1, 2)),
    "cpubone_t0": CPUBoneSpec(width=12, depths=(0, 1, 1, 2, 3)),
    "cpubone_s0": CPUBoneSpec(width=14, depths=(0, 1, 1, 2, 3)),
    "cpubone_b0_bfrobust": CPUBoneSpec(width=16, depths=(0, 1, 1, 3, 4), local_norm="all"),
    "cpubone_b1_bfrobust": b1("all"),
    "cpubone_b1_dwnorm": b1("depth_proj"),
    "cpubone_b2_bfrobust": b2(20, "all", drop_path_rate=0.1),
    "cpubone_b2pt5_dwnorm": b2(24, "depth_proj"),
    "cpubone_b3": CPUBoneSpec(width=32, depths=(1, 2, 3, 6, 6), opening_expand=6, stem_expand=4),
}

IN1K = Weights(crop_pct=0.95, license=None)


def weights(name: str) -> tuple[str, Weights]:
    """The one row of a variant."""
    if name.endswith("_dwnorm"):
        return f"{name}.timm_r256_in1k", IN1K.but(input_size=256)
    return f"{name}.r224_in1k", IN1K


WEIGHTS = dict(map(weights, VARIANTS))
