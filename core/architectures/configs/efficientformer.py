"""EfficientFormer variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class EfficientFormerSpec(Spec):
    """One EfficientFormer: blocks and channels of each stage, `img_size` the side or (height, width) of its images.

    The last `num_vit` blocks have attention, the others pooling. `layer_scale_init_value` starts the scales of the
    branches.
    """

    model_class: ClassVar[str] = "EfficientFormer"
    classifier: ClassVar[str | tuple[str, ...]] = ("head", "head_dist")
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    small_size: ClassVar[int] = 224  # the published networks have biases for the cells of this size
    sizes: ClassVar[SizeFacts] = SizeFacts((SizedTensors(r".+\.attention_bias(es|_idxs)", "refuse"),))

    depths: tuple[int, ...]
    embed_dims: tuple[int, ...]
    num_vit: int
    mlp_ratio: int = 4
    layer_scale_init_value: float = 1e-5
    img_size: int | tuple[int, int] = 224

    @property
    def first_conv(self) -> str:
        return "stem.conv1"


# Section 4 of arXiv:2206.01191.
VARIANTS = {
    "efficientformer_l1": EfficientFormerSpec(depths=(3, 2, 6, 4), embed_dims=(48, 96, 224, 448), num_vit=1),
    "efficientformer_l3": EfficientFormerSpec(depths=(4, 4, 12, 6), embed_dims=(64, 128, 320, 512), num_vit=4),
    "efficientformer_l7": EfficientFormerSpec(depths=(6, 6, 18, 8), embed_dims=(96, 192, 384, 768), num_vit=8),
}

PLAIN = Weights(crop_pct=0.95, fixed_input_size=True)

WEIGHTS = {f"{name}.snap_dist_in1k": PLAIN for name in VARIANTS}
