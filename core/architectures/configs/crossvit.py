"""CrossViT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class CrossVitSpec(Spec):
    """One CrossViT: two branches, the first of small, the second of large patches; a pair has a value for each.

    `depth` are the transformer blocks of each branch between two exchanges, of which there are `num_blocks`. The
    second branch reads the image at `img_scale` of its size (`img_size`, the side or (height, width)). `multi_conv`
    makes embeddings by three convolutions instead of one.
    """

    model_class: ClassVar[str] = "CrossVit"
    classifier: ClassVar[str | tuple[str, ...]] = ("head.0", "head.1")
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    small_size: ClassVar[int] = 120  # both branches have whole patches
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(
            SizedTensors("pos_embed_0", "scaled_tokens", arguments=(("patch", 12), ("scales", (("", 1.0),)))),
            SizedTensors(
                "pos_embed_1",
                "scaled_tokens",
                arguments=(("patch", 16), ("scales", (("408", 384 / 408), ("", 224 / 240)))),
            ),
        )
    )

    embed_dim: tuple[int, int]
    num_heads: int
    depth: tuple[int, int]
    mlp_ratio: float
    num_blocks: int = 3
    patch_size: tuple[int, int] = (12, 16)
    img_size: int | tuple[int, int] = 240
    img_scale: float = 224 / 240
    multi_conv: bool = False
    qkv_bias: bool = True

    @property
    def first_conv(self) -> tuple[str, ...]:
        layer = "proj.0" if self.multi_conv else "proj"
        return f"patch_embed.0.{layer}", f"patch_embed.1.{layer}"


def crossvit(embed_dim: int, heads: int, depth: int, mlp_ratio: float, **fields: Any) -> CrossVitSpec:
    """Channels of the first branch, blocks of the second."""
    dims = embed_dim, 2 * embed_dim
    return CrossVitSpec(embed_dim=dims, num_heads=heads, depth=(1, depth), mlp_ratio=mlp_ratio, **fields)


DAGGER: dict[str, Any] = {"multi_conv": True}
DAGGER_408: dict[str, Any] = {"multi_conv": True, "img_size": 408, "img_scale": 384 / 408}

VARIANTS = {
    "crossvit_tiny_240": crossvit(96, 3, 4, 4.0),
    "crossvit_small_240": crossvit(192, 6, 4, 4.0),
    "crossvit_base_240": crossvit(384, 12, 4, 4.0),
    "crossvit_9_240": crossvit(128, 4, 3, 3.0),
    "crossvit_15_240": crossvit(192, 6, 5, 3.0),
    "crossvit_18_240": crossvit(224, 7, 6, 3.0),
    "crossvit_9_dagger_240": crossvit(128, 4, 3, 3.0, **DAGGER),
    "crossvit_15_dagger_240": crossvit(192, 6, 5, 3.0, **DAGGER),
    "crossvit_15_dagger_408": crossvit(192, 6, 5, 3.0, **DAGGER_408),
    "crossvit_18_dagger_240": crossvit(224, 7, 6, 3.0, **DAGGER),
    "crossvit_18_dagger_408": crossvit(224, 7, 6, 3.0, **DAGGER_408),
}

PLAIN = Weights(fixed_input_size=True, input_size=240)
LARGE = PLAIN.but(input_size=408, crop_pct=1.0)

WEIGHTS = {f"{name}.in1k": LARGE if name.endswith("408") else PLAIN for name in VARIANTS}
