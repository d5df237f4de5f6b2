"""LowFormer variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class LowFormerSpec(Spec):
    """One LowFormer: `width` channels in the stem, twice as many in each stage after it.

    `depths` are the blocks of the stem and the stages; in the first two stages the block that halves the map is one of
    them. `stem_expand` and `opening_expand` are the expansion of the stem's blocks and of those that halve the map.
    The blocks of the last two stages may go without attention or perceptron. `head_widths` are the channels before and
    after the pooling. `drop_path_rate` is that of stochastic depth in the last block, `proj_drop_rate` that of dropout
    behind each perceptron.
    """

    model_class: ClassVar[str] = "LowFormer"
    classifier: ClassVar[str] = "classifier"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    width: int
    depths: tuple[int, ...]
    head_widths: tuple[int, int] = (1536, 1600)
    stem_expand: int = 2
    opening_expand: int = 6
    has_attention: bool = True
    has_mlp: bool = True
    act_layer: str = "hard_swish"
    drop_path_rate: float = 0.0
    proj_drop_rate: float = 0.0

    @property
    def first_conv(self) -> str:
        return "stem.0.conv"


WIDE = 2304, 2560

# Table 1 of arXiv:2409.03460; for E1 to E3 arXiv:2603.26551.
VARIANTS = {
    "lowformer_b0": LowFormerSpec(width=16, depths=(0, 1, 1, 3, 4), opening_expand=4),
    "lowformer_b1": LowFormerSpec(width=16, depths=(0, 1, 1, 5, 5)),
    "lowformer_b15": LowFormerSpec(width=20, depths=(0, 1, 1, 6, 6), head_widths=WIDE),
    "lowformer_b2": LowFormerSpec(width=24, depths=(0, 1, 1, 6, 6), head_widths=WIDE),
    "lowformer_b3": LowFormerSpec(width=32, depths=(1, 2, 3, 6, 6), stem_expand=4),
    "lowformer_e1": LowFormerSpec(
        width=20, depths=(0, 1, 1, 4, 4), head_widths=WIDE, has_attention=False, has_mlp=False
    ),
    "lowformer_e2": LowFormerSpec(width=32, depths=(1, 2, 3, 4, 4), stem_expand=4, has_attention=False, has_mlp=False),
    "lowformer_e3": LowFormerSpec(width=32, depths=(1, 2, 3, 6, 6), stem_expand=4, has_mlp=False),
}

IN1K = Weights(crop_pct=0.95, origin_url="https://github.com/altair199797/LowFormer")

WEIGHTS = {f"{name}.in1k": IN1K for name in VARIANTS if name != "lowformer_b2"}
WEIGHTS["lowformer_b2.untrained"] = IN1K.but(hub_id="")
