"""CoaT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights

Four = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class CoatSpec(Spec):
    """One CoaT: width and depth of its four scales, and `parallel_depth` blocks across the three coarser ones.

    `mlp_ratios` is hidden by embedding channels at each scale.
    """

    model_class: ClassVar[str] = "CoaT"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None

    embed_dims: Four
    serial_depths: Four = (2, 2, 2, 2)
    parallel_depth: int = 0
    mlp_ratios: Four = (4, 4, 4, 4)
    num_heads: int = 8
    patch_size: int = 4
    qkv_bias: bool = True

    @property
    def first_conv(self) -> str:
        return "patch_embed1.proj"


def coat(channels: int) -> CoatSpec:
    """With parallel blocks; the coarser scales have this width."""
    return CoatSpec(embed_dims=(152, channels, channels, channels), parallel_depth=6)


def lite(embed_dims: Four, serial_depths: Four = (2, 2, 2, 2), mlp_ratios: Four = (8, 8, 4, 4)) -> CoatSpec:
    return CoatSpec(embed_dims=embed_dims, serial_depths=serial_depths, mlp_ratios=mlp_ratios)


LITE_MEDIUM = lite((128, 256, 320, 512), (3, 6, 10, 8), (4, 4, 4, 4))

# Table 1 of arXiv:2104.06399.
VARIANTS = {
    "coat_tiny": coat(152),
    "coat_mini": coat(216),
    "coat_small": coat(320),
    "coat_lite_tiny": lite((64, 128, 256, 320)),
    "coat_lite_mini": lite((64, 128, 320, 512)),
    "coat_lite_small": lite((64, 128, 320, 512), (3, 4, 6, 3)),
    "coat_lite_medium": LITE_MEDIUM,
    "coat_lite_medium_384": LITE_MEDIUM,
}

PLAIN = Weights(fixed_input_size=True, crop_pct=0.9)
LARGE = PLAIN.but(input_size=384, crop_pct=1.0, crop_mode="squash")

WEIGHTS = {f"{name}.in1k": LARGE if name.endswith("384") else PLAIN for name in VARIANTS}
