"""PVT v2 variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class PvtV2Spec(Spec):
    """One PVT v2: depth, width, heads and hidden channels (by `mlp_ratios`) of each of its stages.

    Keys and values are of a map that is `sr_ratios` times smaller than that of the queries, by a convolution; with
    `linear` attention the map is averaged to one of 7 x 7 cells.
    """

    model_class: ClassVar[str] = "PyramidVisionTransformerV2"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    depths: tuple[int, ...]
    embed_dims: tuple[int, ...] = (64, 128, 320, 512)
    num_heads: tuple[int, ...] = (1, 2, 5, 8)
    sr_ratios: tuple[int, ...] = (8, 4, 2, 1)
    mlp_ratios: tuple[float, ...] = (8.0, 8.0, 4.0, 4.0)
    qkv_bias: bool = True
    linear: bool = False

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj"


# Table 1 of arXiv:2106.13797.
VARIANTS = {
    "pvt_v2_b0": PvtV2Spec(depths=(2, 2, 2, 2), embed_dims=(32, 64, 160, 256)),
    "pvt_v2_b1": PvtV2Spec(depths=(2, 2, 2, 2)),
    "pvt_v2_b2": PvtV2Spec(depths=(3, 4, 6, 3)),
    "pvt_v2_b2_li": PvtV2Spec(depths=(3, 4, 6, 3), linear=True),
    "pvt_v2_b3": PvtV2Spec(depths=(3, 4, 18, 3)),
    "pvt_v2_b4": PvtV2Spec(depths=(3, 8, 27, 3)),
    "pvt_v2_b5": PvtV2Spec(depths=(3, 6, 40, 3), mlp_ratios=(4.0, 4.0, 4.0, 4.0)),
}

WEIGHTS = {f"{name}.in1k": Weights(crop_pct=0.9) for name in VARIANTS}
