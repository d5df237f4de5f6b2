"""GhostNet variants, versions 1 to 3, and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.records import Spec, Weights


class GhostRow(NamedTuple):
    """One bottleneck; `kernel` is that of its strided convolution and its shortcut."""

    kernel: int
    channels: int
    stride: int = 1
    se_ratio: float = 0.0


# Table 1 of arXiv:1911.11907: the stages without their hidden widths, which are given in one row for each network.
STAGES = (
    (GhostRow(3, 16),),
    (GhostRow(3, 24, stride=2),),
    (GhostRow(3, 24),),
    (GhostRow(5, 40, stride=2, se_ratio=0.25),),
    (GhostRow(5, 40, se_ratio=0.25),),
    (GhostRow(3, 80, stride=2),),
    (*(GhostRow(3, 80),) * 3, *(GhostRow(3, 112, se_ratio=0.25),) * 2),
    (GhostRow(5, 160, stride=2, se_ratio=0.25),),
    (GhostRow(5, 160), GhostRow(5, 160, se_ratio=0.25)) * 2,
)
FINAL_CHANNELS = 960


@dataclass(frozen=True, kw_only=True)
class GhostNetSpec(Spec):
    """One network: all channels are multiplied by `width`, `hidden` are those inside each bottleneck.

    Version 2 has attention in all bottlenecks but the first two, version 3 parallel branches as well.
    """

    model_class: ClassVar[str] = "GhostNet"
    classifier: ClassVar[str] = "classifier"
    choices = {"version": ("v1", "v2", "v3")}

    width: float = 1.0
    version: str = "v1"
    hidden: tuple[int, ...] = (16, 48, 72, 72, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960, 960, 960)

    @property
    def first_conv(self) -> str:
        return "conv_stem"

    def scaled(self, channels: int) -> int:
        """Channels at this network's width."""
        return make_divisible(channels * self.width, 4)


def ghostnet(version: str, *widths: float) -> dict[str, GhostNetSpec]:
    """Names and networks of one version."""
    name = "ghostnet" + version.removeprefix("v1")
    return {f"{name}_{100 * width:03.0f}": GhostNetSpec(width=width, version=version) for width in widths}


VARIANTS = {
    **ghostnet("v1", 0.5, 1.0, 1.3),
    **ghostnet("v2", 1.0, 1.3, 1.6),
    **ghostnet("v3", 0.5, 1.0, 1.3, 1.6),
}

TRAINED = ("ghostnet_100", "ghostnetv2_100", "ghostnetv2_130", "ghostnetv2_160", "ghostnetv3_100")

WEIGHTS = {
    f"{name}.in1k" if name in TRAINED else f"{name}.untrained": Weights(hub_id=None if name in TRAINED else "")
    for name in VARIANTS
}
