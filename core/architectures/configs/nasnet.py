"""NASNet-A (large) and its published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import HALF, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class NASNetSpec(Spec):
    """One NASNet-A.

    `num_features` channels leave the last of three groups of `repeats` normal cells, `stem_size` the first
    convolution.
    """

    model_class: ClassVar[str] = "NASNetALarge"
    classifier: ClassVar[str] = "last_linear"
    is_padded: ClassVar[bool] = False

    stem_size: int = 96
    num_features: int = 4032
    repeats: int = 6

    @property
    def first_conv(self) -> str:
        return "conv0.conv"


# NASNet-A (6 @ 4032) of arXiv:1707.07012.
VARIANTS = {"nasnetalarge": NASNetSpec()}

URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/nasnetalarge-dc4a7b8b.pth"

WEIGHTS = {"nasnetalarge.tf_in1k": Weights(url=URL, input_size=331, crop_pct=0.911, mean=HALF, std=HALF)}
