"""EfficientViT (Microsoft) variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class EfficientVitMsraSpec(Spec):
    """One EfficientViT: channels, heads and blocks of each stage.

    `kernels` are those of the convolutions of the queries, one for each head. Attention sees windows of the side
    `window_size`, cut to the map of an image of `img_size`, its side or (height, width).
    """

    model_class: ClassVar[str] = "EfficientVitMsra"
    classifier: ClassVar[str] = "head.linear"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts(
        (
            SizedTensors(
                r"stages\.\d\..+\.attention_biases", "windowed_offsets", arguments=(("window", 7), ("stride", 16))
            ),
        )
    )

    embed_dim: tuple[int, ...]
    num_heads: tuple[int, ...]
    kernels: tuple[int, ...] = (7, 5, 3, 3)
    depth: tuple[int, ...] = (1, 2, 3)
    key_dim: int = 16
    window_size: int = 7
    img_size: int | tuple[int, int] = 224

    @property
    def first_conv(self) -> str:
        return "patch_embed.conv1.conv"


FIVE = 5, 5, 5, 5

# Table 2 of arXiv:2305.07027.
VARIANTS = {
    "efficientvit_m0": EfficientVitMsraSpec(embed_dim=(64, 128, 192), num_heads=(4, 4, 4), kernels=FIVE),
    "efficientvit_m1": EfficientVitMsraSpec(embed_dim=(128, 144, 192), num_heads=(2, 3, 3)),
    "efficientvit_m2": EfficientVitMsraSpec(embed_dim=(128, 192, 224), num_heads=(4, 3, 2)),
    "efficientvit_m3": EfficientVitMsraSpec(embed_dim=(128, 240, 320), num_heads=(4, 3, 4), kernels=FIVE),
    "efficientvit_m4": EfficientVitMsraSpec(embed_dim=(128, 256, 384), num_heads=(4, 4, 4)),
    "efficientvit_m5": EfficientVitMsraSpec(embed_dim=(192, 288, 384), num_heads=(3, 3, 4), depth=(1, 3, 4)),
}

WEIGHTS = {f"{name}.r224_in1k": Weights(fixed_input_size=True, pool_size=(4, 4), license="mit") for name in VARIANTS}
