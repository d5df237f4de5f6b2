"""NesT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class NestSpec(Spec):
    """One NesT: width, heads and depth of each level of its hierarchy.

    Each level has a quarter of the blocks of the one before, as large in cells. `pad_type` is "" (symmetric) or "same"
    (as TensorFlow's) for the poolings between the levels. Images are squares with a side of `img_size`.
    """

    model_class: ClassVar[str] = "Nest"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = 16
    sizes: ClassVar[SizeFacts] = SizeFacts((SizedTensors(r"levels\.\d\.pos_embed", "blocks"),))

    choices = {"pad_type": ("", "same")}

    embed_dims: tuple[int, ...]
    num_heads: tuple[int, ...]
    depths: tuple[int, ...]
    img_size: int | tuple[int, int] = 224
    patch_size: int = 4
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    pad_type: str = ""

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj"


def nest(width: int, depth: int) -> NestSpec:
    """Heads of 32 channels; `depth` is that of the last level."""
    heads = width // 32
    widths = width, 2 * width, 4 * width
    return NestSpec(embed_dims=widths, num_heads=(heads, 2 * heads, 4 * heads), depths=(2, 2, depth))


# Table 1 of arXiv:2105.12723.
SYMMETRIC = {"nest_base": nest(128, 20), "nest_small": nest(96, 20), "nest_tiny": nest(96, 8)}
VARIANTS = SYMMETRIC | {f"{name}_jx": replace(spec, pad_type="same") for name, spec in SYMMETRIC.items()}

WEIGHTS = {
    f"{name}.{'goog_in1k' if spec.pad_type else 'untrained'}": Weights(fixed_input_size=True)
    for name, spec in VARIANTS.items()
}
