"""LeViT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class LevitSpec(Spec):
    """One LeViT: width, depth and heads of each of its stages, `img_size` the side or (height, width) of its images.

    `stem_type` names the stride of the stem: "s16" (four convolutions) or "s8" (three). `use_conv` keeps maps and
    pointwise convolutions where the other form has tokens and linear layers; the two compute the same. `distilled`
    adds a second classifier, which learned from a teacher.
    """

    model_class: ClassVar[str] = "Levit"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts((SizedTensors(r".+\.attention_biases", "refuse"),))

    choices = {"stem_type": ("s16", "s8")}

    embed_dim: tuple[int, ...]
    num_heads: tuple[int, ...]
    depth: tuple[int, ...] = (4, 4, 4)
    key_dim: int = 32
    stem_type: str = "s16"
    img_size: int | tuple[int, int] = 224
    act_layer: str = "hard_swish"
    use_conv: bool = False
    distilled: bool = True

    @property
    def first_conv(self) -> str:
        return "stem.conv1.linear"

    @property
    def classifier(self) -> str | tuple[str, ...]:  # type: ignore[override]  # it depends on the variant here
        return ("head.linear", "head_dist.linear") if self.distilled else "head.linear"


def levit(*embed_dim: int, heads: tuple[int, ...], **fields: Any) -> LevitSpec:
    return LevitSpec(embed_dim=embed_dim, num_heads=heads, **fields)


LINEAR = {
    "levit_128s": levit(128, 256, 384, heads=(4, 6, 8), depth=(2, 3, 4), key_dim=16),
    "levit_128": levit(128, 256, 384, heads=(4, 8, 12), key_dim=16),
    "levit_192": levit(192, 288, 384, heads=(3, 5, 6)),
    "levit_256": levit(256, 384, 512, heads=(4, 6, 8)),
    "levit_384": levit(384, 512, 768, heads=(6, 9, 12)),
    "levit_384_s8": levit(384, 512, 768, heads=(6, 9, 12), stem_type="s8", act_layer="silu"),
    "levit_512_s8": levit(
        512, 640, 896, heads=(8, 10, 14), key_dim=64, stem_type="s8", act_layer="silu", distilled=False
    ),
    "levit_512": levit(512, 768, 1024, heads=(8, 12, 16), key_dim=64, act_layer="silu", distilled=False),
    "levit_256d": levit(256, 384, 512, heads=(4, 6, 8), depth=(4, 8, 6), act_layer="silu", distilled=False),
    "levit_512d": levit(
        512, 640, 768, heads=(8, 10, 12), depth=(4, 8, 6), key_dim=64, act_layer="silu", distilled=False
    ),
}
VARIANTS = LINEAR | {
    name.replace("levit_", "levit_conv_"): replace(spec, use_conv=True) for name, spec in LINEAR.items()
}

PLAIN = Weights(crop_pct=0.9, fixed_input_size=True)
TRAINED = {"levit_128s", "levit_128", "levit_192", "levit_256", "levit_384"}


def weights(name: str) -> tuple[str, Weights]:
    """The one row of a variant."""
    linear = name.replace("_conv", "")
    if linear in TRAINED:
        return f"{name}.fb_dist_in1k", PLAIN if name == linear else PLAIN.but(pool_size=(4, 4))
    # Whether their variant is distilled or not, these name one classifier.
    return f"{name}.untrained", PLAIN.but(classifier="head.linear")


WEIGHTS = dict(map(weights, VARIANTS))
