"""MViTv2 variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class MultiScaleVitSpec(Spec):
    """One network: channels and heads of the first stage, which double in each further one, and the stages' depths.

    `expand_attn` widens in the attention of a stage's first block, not in the perceptron of the last block before.
    `img_size` is the side of the images, or their (height, width): multiples of 32 pixels.
    """

    model_class: ClassVar[str] = "MultiScaleVit"
    classifier: ClassVar[str | tuple[str, ...]] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(
            SizedTensors("pos_embed", "tokens", arguments=(("as_reference", False),)),
            SizedTensors(r".+\.rel_pos_[hw]", "relative_axis"),
        )
    )

    depths: tuple[int, ...]
    embed_dim: int = 96
    num_heads: int = 1
    expand_attn: bool = True
    use_cls_token: bool = False
    mlp_ratio: float = 4.0
    img_size: int | tuple[int, int] = 224

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj"


SMALL, BASE, LARGE, HUGE = (1, 2, 11, 2), (2, 3, 16, 3), (2, 6, 36, 4), (4, 8, 60, 8)

# Table 1 of arXiv:2112.01526.
VARIANTS = {
    "mvitv2_tiny": MultiScaleVitSpec(depths=(1, 2, 5, 2)),
    "mvitv2_small": MultiScaleVitSpec(depths=SMALL),
    "mvitv2_base": MultiScaleVitSpec(depths=BASE),
    "mvitv2_large": MultiScaleVitSpec(depths=LARGE, embed_dim=144, num_heads=2, expand_attn=False),
    "mvitv2_small_cls": MultiScaleVitSpec(depths=SMALL, use_cls_token=True),
    "mvitv2_base_cls": MultiScaleVitSpec(depths=BASE, use_cls_token=True),
    "mvitv2_large_cls": MultiScaleVitSpec(depths=LARGE, embed_dim=144, num_heads=2, use_cls_token=True),
    "mvitv2_huge_cls": MultiScaleVitSpec(depths=HUGE, embed_dim=192, num_heads=3, use_cls_token=True),
}

UNTRAINED = Weights(crop_pct=0.9, fixed_input_size=True)


def fb(file: str, num_classes: int = 1000) -> Weights:
    url = f"https://dl.fbaipublicfiles.com/mvit/mvitv2_models/MViTv2_{file}.pyth"
    return UNTRAINED.but(url=url, num_classes=num_classes)


WEIGHTS = {
    "mvitv2_tiny.fb_in1k": fb("T_in1k"),
    "mvitv2_small.fb_in1k": fb("S_in1k"),
    "mvitv2_base.fb_in1k": fb("B_in1k"),
    "mvitv2_large.fb_in1k": fb("L_in1k"),
    "mvitv2_small_cls.untrained": UNTRAINED,
    "mvitv2_base_cls.fb_inw21k": fb("B_in21k", 19168),
    "mvitv2_large_cls.fb_inw21k": fb("L_in21k", 19168),
    "mvitv2_huge_cls.fb_inw21k": fb("H_in21k", 19168),
}
