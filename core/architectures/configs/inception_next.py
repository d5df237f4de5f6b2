"""InceptionNeXt variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class InceptionNextSpec(Spec):
    """One InceptionNeXt: blocks and channels of each stage.

    Three branches of the depthwise convolution have `branch_ratio` of the channels each, two of them kernels of a row
    and a column of `band_kernel` positions. `mlp_ratios` are the hidden widths of the blocks of each stage,
    `head_ratio` that of the head, `ls_init_value` is where the scale of a block starts.
    """

    model_class: ClassVar[str] = "MetaNeXt"
    classifier: ClassVar[str] = "head.fc2"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    band_kernel: int = 11
    branch_ratio: float = 0.125
    mlp_ratios: tuple[float, ...] = (4, 4, 4, 3)
    head_ratio: float = 3
    ls_init_value: float = 1e-6

    @property
    def first_conv(self) -> str:
        return "stem.0"


WIDE = 96, 192, 384, 768

# Table 1 of arXiv:2303.16900.
VARIANTS = {
    "inception_next_atto": InceptionNextSpec(
        depths=(2, 2, 6, 2), dims=(40, 80, 160, 320), band_kernel=9, branch_ratio=0.25
    ),
    "inception_next_tiny": InceptionNextSpec(depths=(3, 3, 9, 3), dims=WIDE),
    "inception_next_small": InceptionNextSpec(depths=(3, 3, 27, 3), dims=WIDE),
    "inception_next_base": InceptionNextSpec(depths=(3, 3, 27, 3), dims=(128, 256, 512, 1024)),
}

WEIGHTS = {
    "inception_next_atto.sail_in1k": Weights(),
    "inception_next_tiny.sail_in1k": Weights(),
    "inception_next_small.sail_in1k": Weights(),
    "inception_next_base.sail_in1k": Weights(crop_pct=0.95),
    "inception_next_base.sail_in1k_384": Weights(input_size=384, crop_pct=1.0),
}
