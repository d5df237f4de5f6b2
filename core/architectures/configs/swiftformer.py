"""SwiftFormer variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class SwiftFormerSpec(Spec):
    """One SwiftFormer: blocks and channels of each stage.

    `mlp_ratios` is the hidden width of perceptrons against their inputs, `layer_scale_init_value` starts the scales of
    attention and of the perceptron after it.
    """

    model_class: ClassVar[str] = "SwiftFormer"
    classifier: ClassVar[str | tuple[str, ...]] = ("head", "head_dist")
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None

    layers: tuple[int, ...]
    embed_dims: tuple[int, ...]
    mlp_ratios: int = 4
    layer_scale_init_value: float = 1e-5

    @property
    def first_conv(self) -> str:
        return "stem.0"


# Section 3.3 of arXiv:2303.15446.
VARIANTS = {
    "swiftformer_xs": SwiftFormerSpec(layers=(3, 3, 6, 4), embed_dims=(48, 56, 112, 220)),
    "swiftformer_s": SwiftFormerSpec(layers=(3, 3, 9, 6), embed_dims=(48, 64, 168, 224)),
    "swiftformer_l1": SwiftFormerSpec(layers=(4, 3, 10, 5), embed_dims=(48, 96, 192, 384)),
    "swiftformer_l3": SwiftFormerSpec(layers=(4, 4, 12, 6), embed_dims=(64, 128, 320, 512)),
}

PLAIN = Weights(
    crop_pct=0.95,
    fixed_input_size=True,
    origin_url="https://github.com/Amshaker/SwiftFormer",
    paper_ids="arXiv:2303.15446",
    paper_name="SwiftFormer: Efficient Additive Attention for Transformer-based Real-time Mobile Vision Applications",
)

WEIGHTS = {f"{name}.dist_in1k": PLAIN for name in VARIANTS}
