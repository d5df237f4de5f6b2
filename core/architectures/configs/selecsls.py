"""SelecSLS variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from zoo.core.architectures.records import Spec, Weights


class Stage(NamedTuple):
    """Blocks of one width, of which the last gives `channels`."""

    width: int
    depth: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class SelecSlsSpec(Spec):
    """One SelecSLS: stages of blocks, then four convolutions of `head` channels, the last with a kernel of its own."""

    model_class: ClassVar[str] = "SelecSls"
    classifier: ClassVar[str] = "fc"
    total_stride: ClassVar[int | None] = 64

    stages: tuple[Stage, ...]
    head: tuple[int, int, int, int]
    last_kernel: int = 1

    @property
    def first_conv(self) -> str:
        return "stem.0"


STAGES_42 = (Stage(64, 2, 128), Stage(144, 2, 288), Stage(304, 2, 480))
STAGES_60 = (Stage(64, 2, 128), Stage(128, 3, 288), Stage(288, 4, 416))
STAGES_84 = (Stage(64, 2, 144), Stage(144, 5, 304), Stage(304, 6, 512))

VARIANTS = {
    "selecsls42": SelecSlsSpec(stages=STAGES_42, head=(960, 1024, 1024, 1280)),
    "selecsls42b": SelecSlsSpec(stages=STAGES_42, head=(960, 1024, 1280, 1024)),
    "selecsls60": SelecSlsSpec(stages=STAGES_60, head=(756, 1024, 1024, 1280)),
    "selecsls60b": SelecSlsSpec(stages=STAGES_60, head=(756, 1024, 1280, 1024)),
    "selecsls84": SelecSlsSpec(stages=STAGES_84, head=(960, 1024, 1024, 1280), last_kernel=3),
}

IN1K = Weights(license="cc-by-4.0")
UNTRAINED = IN1K.but(hub_id="")

WEIGHTS = {
    "selecsls42.untrained": UNTRAINED,
    "selecsls42b.in1k": IN1K,
    "selecsls60.in1k": IN1K,
    "selecsls60b.in1k": IN1K,
    "selecsls84.untrained": UNTRAINED,
}
