"""EfficientFormerV2 variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class EfficientFormerV2Spec(Spec):
    """One EfficientFormerV2: blocks and channels of each stage, `img_size` the side or (height, width) of its images.

    The last `num_vit` blocks of the last two stages have attention. `mlp_ratios` are the hidden widths of perceptrons
    against their inputs, a number for a stage or one for each of its blocks. `drop_path_rate` is that of stochastic
    depth in the last block, `layer_scale_init_value` starts the scales of the branches.
    """

    model_class: ClassVar[str] = "EfficientFormerV2"
    classifier: ClassVar[str | tuple[str, ...]] = ("head", "head_dist")
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts((SizedTensors(r".+\.attention_biases", "refuse"),))

    depths: tuple[int, ...]
    embed_dims: tuple[int, ...]
    num_vit: int
    mlp_ratios: tuple[int | tuple[int, ...], ...]
    drop_path_rate: float = 0.0
    layer_scale_init_value: float = 1e-5
    img_size: int | tuple[int, int] = 224

    @property
    def first_conv(self) -> str:
        return "stem.conv1.conv"


def ratios(*stages: str) -> tuple[int | tuple[int, ...], ...]:
    """The first two stages expand by four, the others as their digits say."""
    return 4, 4, *(tuple(map(int, stage)) for stage in stages)


# Found by the search of arXiv:2212.08059, section 3.3; the tables are those of the authors' code.
VARIANTS = {
    "efficientformerv2_s0": EfficientFormerV2Spec(
        depths=(2, 2, 6, 4), embed_dims=(32, 48, 96, 176), num_vit=2, mlp_ratios=ratios("433344", "4334")
    ),
    "efficientformerv2_s1": EfficientFormerV2Spec(
        depths=(3, 3, 9, 6), embed_dims=(32, 48, 120, 224), num_vit=2, mlp_ratios=ratios("443333444", "443344")
    ),
    "efficientformerv2_s2": EfficientFormerV2Spec(
        depths=(4, 4, 12, 8),
        embed_dims=(32, 64, 144, 288),
        num_vit=4,
        mlp_ratios=ratios("443333334444", "44333344"),
        drop_path_rate=0.02,
    ),
    "efficientformerv2_l": EfficientFormerV2Spec(
        depths=(5, 5, 15, 10),
        embed_dims=(40, 80, 192, 384),
        num_vit=6,
        mlp_ratios=ratios("444433333334444", "4443333444"),
        drop_path_rate=0.1,
    ),
}

PLAIN = Weights(crop_pct=0.95, fixed_input_size=True)

WEIGHTS = {f"{name}.snap_dist_in1k": PLAIN for name in VARIANTS}
