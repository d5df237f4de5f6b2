"""Aligned Xception variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from zoo.core.architectures.records import HALF, Spec, Weights


class XceptionRow(NamedTuple):
    """A block: the widths of its three separable convolutions, the stride of the last, whether it has a shortcut."""

    widths: tuple[int, int, int]
    stride: int = 1
    has_shortcut: bool = True


@dataclass(frozen=True, kw_only=True)
class XceptionAlignedSpec(Spec):
    """One aligned Xception: the (width, stride) of each block of the `entry` flow, the blocks of the `middle` flow.

    `preact` puts norm and activation before each convolution.
    """

    model_class: ClassVar[str] = "XceptionAligned"
    classifier: ClassVar[str] = "head.fc"

    entry: tuple[tuple[int, int], ...] = ((128, 2), (256, 2), (728, 2))
    middle: int
    preact: bool = False
    act_layer: str = "relu"
    norm_layer: str = "batchnorm"
    norm_eps: float = 1e-3

    @property
    def first_conv(self) -> str:
        return "stem.0.conv"

    def blocks(self) -> list[XceptionRow]:
        """Entry, middle and exit flow in order."""
        return [
            *(XceptionRow((width, width, width), stride) for width, stride in self.entry),
            *(XceptionRow((728, 728, 728)) for _ in range(self.middle)),
            XceptionRow((728, 1024, 1024), stride=2),
            XceptionRow((1536, 1536, 2048), has_shortcut=False),
        ]


VARIANTS = {
    "xception41": XceptionAlignedSpec(middle=8),
    "xception41p": XceptionAlignedSpec(middle=8, preact=True, norm_eps=1e-5),
    "xception65": XceptionAlignedSpec(middle=16),
    "xception65p": XceptionAlignedSpec(middle=16, preact=True),
    "xception71": XceptionAlignedSpec(entry=((128, 2), (256, 1), (256, 2), (728, 1), (728, 2)), middle=16),
}

TF = Weights(input_size=299, crop_pct=0.903, mean=HALF, std=HALF)
RA3 = TF.but(crop_pct=0.94)

WEIGHTS = {
    "xception41.tf_in1k": TF,
    "xception41p.ra3_in1k": RA3,
    "xception65.ra3_in1k": RA3,
    "xception65.tf_in1k": TF,
    "xception65p.ra3_in1k": RA3,
    "xception71.tf_in1k": TF,
}
