"""PiT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class PitSpec(Spec):
    """One PiT: channels of a head, heads and depth of each of its stages.

    Patches of `patch_size` pixels lie `stride` pixels apart. `img_size` is the side of the images, or their (height,
    width).
    """

    model_class: ClassVar[str] = "PoolingVisionTransformer"
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts((SizedTensors("pos_embed", "overlapping_map"),))
    is_padded: ClassVar[bool] = False

    base_dims: tuple[int, ...]
    heads: tuple[int, ...]
    depth: tuple[int, ...]
    patch_size: int = 16
    stride: int = 8
    img_size: int | tuple[int, int] = 224
    mlp_ratio: float = 4.0

    @property
    def first_conv(self) -> str:
        return "patch_embed.conv"


@dataclass(frozen=True, kw_only=True)
class DistilledSpec(PitSpec):
    """With a distillation token and a classifier of its own."""

    model_class: ClassVar[str] = "PoolingVisionTransformerDistilled"
    classifier: ClassVar[str | tuple[str, ...]] = ("head", "head_dist")


def pit(size: str, make: type[PitSpec] = PitSpec) -> PitSpec:
    """Table 1 of arXiv:2103.16302."""
    if size == "b":
        return make(base_dims=(64, 64, 64), heads=(4, 8, 16), depth=(3, 6, 4), patch_size=14, stride=7)
    channels, heads = {"ti": (32, 2), "xs": (48, 2), "s": (48, 3)}[size]
    return make(base_dims=(channels,) * 3, heads=(heads, 2 * heads, 4 * heads), depth=(2, 6, 4))


SIZES = "b", "s", "ti", "xs"
VARIANTS = {f"pit_{size}_224": pit(size) for size in SIZES} | {
    f"pit_{size}_distilled_224": pit(size, DistilledSpec) for size in SIZES
}

WEIGHTS = {f"{name}.in1k": Weights(fixed_input_size=True, crop_pct=0.9) for name in VARIANTS}
