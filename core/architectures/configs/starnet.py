"""StarNet variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class StarNetSpec(Spec):
    """One StarNet: `base_dim` channels in the first stage, twice as many in each further one, `depths` blocks.

    `mlp_ratio` is the width of the two factors of a block against its input.
    """

    model_class: ClassVar[str] = "StarNet"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    base_dim: int
    depths: tuple[int, ...]
    mlp_ratio: int = 4
    act_layer: str = "relu6"

    @property
    def first_conv(self) -> str:
        return "stem.0.conv"


# Tables 9 and 11 of arXiv:2403.19967.
VARIANTS = {
    "starnet_s1": StarNetSpec(base_dim=24, depths=(2, 2, 8, 3)),
    "starnet_s2": StarNetSpec(base_dim=32, depths=(1, 2, 6, 2)),
    "starnet_s3": StarNetSpec(base_dim=32, depths=(2, 2, 8, 4)),
    "starnet_s4": StarNetSpec(base_dim=32, depths=(3, 3, 12, 5)),
    "starnet_s050": StarNetSpec(base_dim=16, depths=(1, 1, 3, 1), mlp_ratio=3),
    "starnet_s100": StarNetSpec(base_dim=20, depths=(1, 2, 4, 1)),
    "starnet_s150": StarNetSpec(base_dim=24, depths=(1, 2, 4, 2), mlp_ratio=3),
}

PAPER = Weights(
    origin_url="https://github.com/ma-xu/Rewrite-the-Stars",
    paper_name="Rewrite the Stars",
    paper_ids="arXiv:2403.19967",
)
UNTRAINED = ("starnet_s050", "starnet_s100", "starnet_s150")

WEIGHTS = {f"{name}.{'untrained' if name in UNTRAINED else 'in1k'}": PAPER for name in VARIANTS}
