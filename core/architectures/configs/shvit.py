"""SHViT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class SHViTSpec(Spec):
    """One SHViT: channels and blocks of each stage.

    Of the channels, `partial_dim` take part in attention, whose queries and keys have `qk_dim`. `types` says which
    stages have it: "s", or "i" for none.
    """

    model_class: ClassVar[str] = "SHViT"
    classifier: ClassVar[str] = "head.l"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = 64

    embed_dim: tuple[int, int, int]
    partial_dim: tuple[int, int, int]
    depth: tuple[int, int, int]
    qk_dim: int = 16
    types: tuple[str, str, str] = ("i", "s", "s")

    @property
    def first_conv(self) -> str:
        return "patch_embed.0.c"


# Table 1 of arXiv:2401.16456.
VARIANTS = {
    "shvit_s1": SHViTSpec(embed_dim=(128, 224, 320), partial_dim=(32, 48, 68), depth=(2, 4, 5)),
    "shvit_s2": SHViTSpec(embed_dim=(128, 308, 448), partial_dim=(32, 66, 96), depth=(2, 4, 5)),
    "shvit_s3": SHViTSpec(embed_dim=(192, 352, 448), partial_dim=(48, 75, 96), depth=(3, 5, 5)),
    "shvit_s4": SHViTSpec(embed_dim=(224, 336, 448), partial_dim=(48, 72, 96), depth=(4, 7, 6)),
}

PLAIN = Weights(
    license="mit",
    origin_url="https://github.com/ysj9909/SHViT",
    paper_ids="arXiv:2401.16456",
    paper_name="SHViT: Single-Head Vision Transformer with Memory Efficient Macro Design",
)

WEIGHTS = {
    "shvit_s1.in1k": PLAIN,
    "shvit_s2.in1k": PLAIN,
    "shvit_s3.in1k": PLAIN,
    "shvit_s4.in1k": PLAIN.but(input_size=256),
}
