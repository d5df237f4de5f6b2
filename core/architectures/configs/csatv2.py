"""CSATv2 variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class CsatV2Spec(Spec):
    """One CSATv2: channels and blocks of each stage, of which the last `transformer_depths` have attention."""

    model_class: ClassVar[str] = "CSATv2"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = 64
    small_size: ClassVar[int] = 128

    dims: tuple[int, ...]
    depths: tuple[int, ...]
    transformer_depths: tuple[int, ...]

    @property
    def first_conv(self) -> tuple[str, ...]:
        """None: fixed filters read the three colours."""
        return ()


# There is no paper.
VARIANTS = {
    "csatv2": CsatV2Spec(dims=(32, 72, 168, 386), depths=(2, 2, 8, 6), transformer_depths=(0, 0, 2, 2)),
    "csatv2_21m": CsatV2Spec(dims=(48, 96, 224, 448), depths=(3, 3, 10, 8), transformer_depths=(0, 0, 4, 3)),
}

PLAIN = Weights(input_size=512, crop_pct=1.0, license=None)

WEIGHTS = {
    "csatv2.r512_in1k": PLAIN.but(interpolation="bilinear"),
    "csatv2_21m.sw_r640_in1k": PLAIN.but(input_size=640, pool_size=(8, 8)),
    "csatv2_21m.sw_r512_in1k": PLAIN.but(pool_size=(10, 10)),
}
