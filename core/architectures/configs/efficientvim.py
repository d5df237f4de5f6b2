"""EfficientViM variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights

HEADS = 4
"""Classifiers of a network: one for the hidden states of each stage, one for the last map."""


@dataclass(frozen=True, kw_only=True)
class EfficientVimSpec(Spec):
    """One EfficientViM: `depths` blocks of `embed_dim` channels in each stage, which have `state_dim` hidden states.

    Hidden layers of the mixers have `ssd_expand`, those of the perceptrons `mlp_ratio` times the channels. `distilled`
    adds a second set of classifiers, which learned from a teacher.
    """

    model_class: ClassVar[str] = "EfficientViM"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    small_size: ClassVar[int] = 128

    embed_dim: tuple[int, int, int]
    depths: tuple[int, int, int] = (2, 2, 2)
    state_dim: tuple[int, int, int] = (49, 25, 9)
    mlp_ratio: float = 4.0
    ssd_expand: float = 1.0
    distilled: bool = False

    @property
    def first_conv(self) -> str:
        return "patch_embed.conv.0.conv"

    @property
    def classifier(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on the variant here
        sets = ("heads", "heads_dist") if self.distilled else ("heads",)
        return tuple(f"{name}.{index}" for name in sets for index in range(HEADS))


# Table 2 of arXiv:2411.15241.
PLAIN = {
    "efficientvim_m1": EfficientVimSpec(embed_dim=(128, 192, 320)),
    "efficientvim_m2": EfficientVimSpec(embed_dim=(128, 256, 512)),
    "efficientvim_m3": EfficientVimSpec(embed_dim=(224, 320, 512)),
    "efficientvim_m4": EfficientVimSpec(embed_dim=(224, 320, 512), depths=(3, 4, 2), state_dim=(64, 32, 16)),
}
VARIANTS = PLAIN | {f"{name}_dist": replace(spec, distilled=True) for name, spec in PLAIN.items()}

IN1K = Weights(license="mit", origin_url="https://github.com/mlvlab/EfficientViM", paper_ids="arXiv:2411.15241")
WEIGHTS = {
    f"{name}.{tag}": IN1K.but(input_size=256) if "_m4" in name else IN1K
    for name, spec in VARIANTS.items()
    for tag in (("in1k",) if spec.distilled else ("e300_in1k", "e450_in1k"))
}
