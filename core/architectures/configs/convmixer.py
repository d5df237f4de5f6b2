"""ConvMixer variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import Spec, Weights


@dataclass(frozen=True, kw_only=True)
class ConvMixerSpec(Spec):
    """One ConvMixer: `depth` blocks of `embed_dim` channels, with depthwise kernels of `kernel_size`, on patches."""

    model_class: ClassVar[str] = "ConvMixer"
    total_stride: ClassVar[int | None] = None
    small_size: ClassVar[int] = 56  # whole patches of 7 and of 14

    embed_dim: int
    depth: int
    kernel_size: int = 9
    patch_size: int = 7
    act_layer: str = "gelu"

    @property
    def first_conv(self) -> str:
        return "stem.0"


# Tables 1 and 3 of arXiv:2201.09792.
VARIANTS = {
    "convmixer_1536_20": ConvMixerSpec(embed_dim=1536, depth=20),
    "convmixer_768_32": ConvMixerSpec(embed_dim=768, depth=32, kernel_size=7, act_layer="relu"),
    "convmixer_1024_20_ks9_p14": ConvMixerSpec(embed_dim=1024, depth=20, patch_size=14),
}

IN1K = Weights(crop_pct=0.96, license="mit")

WEIGHTS = {f"{name}.in1k": IN1K for name in VARIANTS}
