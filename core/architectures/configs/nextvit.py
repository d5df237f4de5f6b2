"""Next-ViT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights
from zoo.core.errors import UsageError

GROUP = 5
"""Blocks of the third stage, of which the last one has attention."""


@dataclass(frozen=True, kw_only=True)
class NextVitSpec(Spec):
    """One Next-ViT: `depths` are the blocks of its stages, those of the third a multiple of GROUP.

    `stem_chs` are the widths of the stem, `sr_ratios` says for each stage over how many cells, squared, keys and values
    are averaged. `mix_block_ratio` is the share of attention in the channels of a block that has it, `head_dim` the
    channels of a head, also of the convolutions' groups. `drop_path_rate` is the stochastic depth of the last block.
    """

    model_class: ClassVar[str] = "NextViT"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    depths: tuple[int, ...]
    stem_chs: tuple[int, ...] = (64, 32, 64)
    sr_ratios: tuple[int, ...] = (8, 4, 2, 1)
    head_dim: int = 32
    mix_block_ratio: float = 0.75
    act_layer: str = "relu"
    drop_path_rate: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.depths) != 4 or min(self.depths) < 1 or self.depths[2] % GROUP:
            raise UsageError(f"depths must be four, the third a multiple of {GROUP}, found {tuple(self.depths)}.")

    @property
    def first_conv(self) -> str:
        return "stem.0.conv"

    @property
    def widths(self) -> list[list[int]]:
        """Channels that leave each block, a list for each stage; the last block of a group is the widest."""
        first, second, third, fourth = self.depths
        return [
            [96] * first,
            [192] * (second - 1) + [256],
            ([384] * (GROUP - 1) + [512]) * (third // GROUP),
            [768] * (fourth - 1) + [1024],
        ]


# Table 3 of arXiv:2207.05501.
VARIANTS = {
    "nextvit_small": NextVitSpec(depths=(3, 4, 10, 3), drop_path_rate=0.1),
    "nextvit_base": NextVitSpec(depths=(3, 4, 20, 3)),
    "nextvit_large": NextVitSpec(depths=(3, 4, 30, 3)),
}

PLAIN = Weights(crop_pct=0.95)
LARGER = Weights(input_size=384, crop_pct=1.0)
TAGS = {"bd_in1k": PLAIN, "bd_in1k_384": LARGER, "bd_ssld_6m_in1k": PLAIN, "bd_ssld_6m_in1k_384": LARGER}
WEIGHTS = {f"{name}.{tag}": row for name in VARIANTS for tag, row in TAGS.items()}
