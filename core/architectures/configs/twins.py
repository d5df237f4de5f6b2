"""Twins variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class TwinsSpec(Spec):
    """One Twins: depth, width, heads and hidden channels (by `mlp_ratios`) of each of its stages.

    Keys and values are of a map that is `sr_ratios` times smaller than that of the queries. With `window_sizes` every
    second block, from the first, attends within windows of this side instead.
    """

    model_class: ClassVar[str] = "Twins"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    is_padded: ClassVar[bool] = False

    depths: tuple[int, ...]
    embed_dims: tuple[int, ...]
    num_heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...] = (4.0, 4.0, 4.0, 4.0)
    sr_ratios: tuple[int, ...] = (8, 4, 2, 1)
    window_sizes: tuple[int, ...] = ()

    @property
    def first_conv(self) -> str:
        return "patch_embeds.0.proj"


def pcpvt(*depths: int) -> TwinsSpec:
    """Attention of one kind: Table 8 of arXiv:2104.13840."""
    widths = 64, 128, 320, 512
    return TwinsSpec(depths=depths, embed_dims=widths, num_heads=(1, 2, 5, 8), mlp_ratios=(8.0, 8.0, 4.0, 4.0))


def svt(width: int, *depths: int) -> TwinsSpec:
    """Attention of two kinds by turns: Table 9 of arXiv:2104.13840, heads of 32 channels."""
    widths = width, 2 * width, 4 * width, 8 * width
    heads = tuple(channels // 32 for channels in widths)
    return TwinsSpec(depths=depths, embed_dims=widths, num_heads=heads, window_sizes=(7, 7, 7, 7))


VARIANTS = {
    "twins_pcpvt_small": pcpvt(3, 4, 6, 3),
    "twins_pcpvt_base": pcpvt(3, 4, 18, 3),
    "twins_pcpvt_large": pcpvt(3, 8, 27, 3),
    "twins_svt_small": svt(64, 2, 2, 10, 4),
    "twins_svt_base": svt(96, 2, 2, 18, 2),
    "twins_svt_large": svt(128, 2, 2, 18, 2),
}

WEIGHTS = {f"{name}.in1k": Weights(fixed_input_size=True, crop_pct=0.9) for name in VARIANTS}
