"""Xception and its published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import HALF, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class XceptionSpec(Spec):
    """Xception: `blocks` are the widths of the separable convolutions of each block.

    A block of two convolutions halves the resolution, one of three keeps it.
    """

    model_class: ClassVar[str] = "Xception"
    classifier: ClassVar[str] = "fc"

    blocks: tuple[tuple[int, ...], ...]

    @property
    def first_conv(self) -> str:
        return "conv1"


ENTRY, MIDDLE, EXIT = ((128, 128), (256, 256), (728, 728)), ((728, 728, 728),) * 8, ((728, 1024),)

VARIANTS = {"legacy_xception": XceptionSpec(blocks=ENTRY + MIDDLE + EXIT)}

CADENE_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene"

WEIGHTS = {
    "legacy_xception.tf_in1k": Weights(
        url=CADENE_URL + "/xception-43020ad28.pth", hub_id="", input_size=299, crop_pct=0.8975, mean=HALF, std=HALF
    ),
}
