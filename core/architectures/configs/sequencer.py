"""Sequencer variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class SequencerSpec(Spec):
    """One Sequencer2D: `layers` blocks of `embed_dims` channels in each stage, behind patches of `patch_sizes` cells.

    An LSTM has `hidden_sizes` states in each direction, a perceptron `mlp_ratios` times the channels.
    """

    model_class: ClassVar[str] = "Sequencer2d"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.0)
    total_stride: ClassVar[int | None] = None
    small_size: ClassVar[int] = 56

    layers: tuple[int, int, int, int]
    patch_sizes: tuple[int, int, int, int] = (7, 2, 1, 1)
    embed_dims: tuple[int, int, int, int] = (192, 384, 384, 384)
    hidden_sizes: tuple[int, int, int, int] = (48, 96, 96, 96)
    mlp_ratios: tuple[float, float, float, float] = (3.0, 3.0, 3.0, 3.0)

    @property
    def first_conv(self) -> str:
        return "stem.proj"


# Table 4 of arXiv:2205.01972.
VARIANTS = {
    "sequencer2d_s": SequencerSpec(layers=(4, 3, 8, 3)),
    "sequencer2d_m": SequencerSpec(layers=(4, 3, 14, 3)),
    "sequencer2d_l": SequencerSpec(layers=(8, 8, 16, 4)),
}
WEIGHTS = {f"{name}.in1k": Weights(fixed_input_size=True) for name in VARIANTS}
