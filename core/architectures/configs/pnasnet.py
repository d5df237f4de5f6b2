"""PNASNet-5 (large) and its published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import HALF, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class PNASNetSpec(Spec):
    """One PNASNet-5: `width` channels in each sum of the first group of cells, `stem_size` from the convolution."""

    model_class: ClassVar[str] = "PNASNet5Large"
    classifier: ClassVar[str] = "last_linear"
    is_padded: ClassVar[bool] = False

    stem_size: int = 96
    width: int = 216
    repeats: int = 4

    @property
    def first_conv(self) -> str:
        return "conv_0.conv"


# PNASNet-5 (N = 4, F = 216) of arXiv:1712.00559.
VARIANTS = {"pnasnet5large": PNASNetSpec()}

WEIGHTS = {"pnasnet5large.tf_in1k": Weights(input_size=331, crop_pct=0.911, mean=HALF, std=HALF)}
