"""ReXNet variants and their published weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, repeat
from math import ceil
from typing import ClassVar

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.records import ClassifierInit, Spec, Weights

REPEATS = (1, 2, 2, 3, 3, 5)
STRIDES = (1, 2, 2, 2, 1, 2)


@dataclass(frozen=True, kw_only=True)
class RexNetSpec(Spec):
    """One network, whose channels grow by the same number from block to block (arXiv:2007.00992, section 4.2).

    They start at `initial_chs` and grow by `final_chs` in all, before `width_mult`, and are multiples of `ch_div`.
    `se_ratio` is that of squeeze-and-excitation against the expanded channels, from the third stage on.
    """

    model_class: ClassVar[str] = "RexNet"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("classes")

    width_mult: float = 1.0
    depth_mult: float = 1.0
    initial_chs: int = 16
    final_chs: int = 180
    se_ratio: float = 1 / 12
    ch_div: int = 1
    act_layer: str = "swish"
    dw_act_layer: str = "relu6"

    @property
    def first_conv(self) -> str:
        return "stem.conv"

    def rounded(self, channels: float) -> int:
        """The nearest allowed number of channels."""
        return make_divisible(channels, self.ch_div)

    def outer_channels(self, channels: int) -> float:
        """Channels of the stem or of the first block, which narrow networks do not scale."""
        return round(channels / min(self.width_mult, 1.0) * self.width_mult)

    def stages(self) -> list[list[int]]:
        """The channels that leave each block, a list for each stage."""
        repeats = [ceil(number * self.depth_mult) for number in REPEATS]
        depth = sum(repeats)
        first, step = self.initial_chs / min(self.width_mult, 1.0), self.final_chs / depth
        # Summed step by step, as published: a product would round otherwise.
        widths: Iterator[float] = accumulate(repeat(step, depth - 1), initial=first)
        return [[self.rounded(round(next(widths) * self.width_mult)) for _ in range(number)] for number in repeats]


def networks(name: str, *widths: float, ch_div: int) -> dict[str, RexNetSpec]:
    return {f"{name}_{100 * width:.0f}": RexNetSpec(width_mult=width, ch_div=ch_div) for width in widths}


VARIANTS = {
    **networks("rexnet", 1.0, 1.3, 1.5, 2.0, 3.0, ch_div=1),
    **networks("rexnetr", 1.0, 1.3, 1.5, 2.0, ch_div=8),
    **networks("rexnetr", 3.0, ch_div=16),
}

MIT = Weights(license="mit")
SW = Weights(test_input_size=288, crop_pct=0.95, test_crop_pct=1.0)
IN12K = SW.but(num_classes=11821)

WEIGHTS = {
    "rexnet_100.nav_in1k": MIT,
    "rexnet_130.nav_in1k": MIT,
    "rexnet_150.nav_in1k": MIT,
    "rexnet_200.nav_in1k": MIT,
    "rexnet_300.nav_in1k": MIT,
    "rexnetr_100.untrained": MIT.but(hub_id=""),
    "rexnetr_130.untrained": MIT.but(hub_id=""),
    "rexnetr_150.untrained": MIT.but(hub_id=""),
    "rexnetr_200.sw_in12k_ft_in1k": SW,
    "rexnetr_200.sw_in12k": IN12K,
    "rexnetr_300.sw_in12k_ft_in1k": SW,
    "rexnetr_300.sw_in12k": IN12K,
}
