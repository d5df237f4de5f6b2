"""HRNet variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import Spec, Weights


@dataclass(frozen=True, kw_only=True)
class HrNetSpec(Spec):
    """One HRNet.

    `width` are the channels of the branch of the highest resolution; each further branch has twice those of the one
    before. A branch has `branch_depth` blocks between two exchanges, of which stages 2 to 4 have `num_modules`. The
    first stage are `first_depth` bottlenecks of four times `first_width` channels. `head_conv_bias` is whether the
    convolutions of the head have biases before their norms.
    """

    model_class: ClassVar[str] = "HighResolutionNet"
    classifier: ClassVar[str] = "classifier"

    width: int
    first_depth: int = 4
    first_width: int = 64
    num_modules: tuple[int, int, int] = (1, 4, 3)
    branch_depth: int = 4
    head_conv_bias: bool = True

    @property
    def first_conv(self) -> str:
        return "conv1"


SMALL: dict[str, Any] = {"first_depth": 1, "first_width": 32, "num_modules": (1, 1, 1), "branch_depth": 2}
SMALL_V2: dict[str, Any] = {"first_depth": 2, "num_modules": (1, 3, 2), "branch_depth": 2}

# Section 3.3 of arXiv:1908.07919; ssld is the distillation of arXiv:2103.05959.
VARIANTS = {
    "hrnet_w18_small": HrNetSpec(width=16, **SMALL),
    "hrnet_w18_small_v2": HrNetSpec(width=18, **SMALL_V2),
    **{f"hrnet_w{width}": HrNetSpec(width=width) for width in (18, 30, 32, 40, 44, 48, 64)},
    **{f"hrnet_w{width}_ssld": HrNetSpec(width=width, head_conv_bias=False) for width in (18, 48)},
}

MS = Weights(interpolation="bilinear", license="mit")
SSLD = MS.but(crop_pct=0.95, test_input_size=288, test_crop_pct=1.0)

WEIGHTS = {
    "hrnet_w18_small.gluon_in1k": Weights(),
    "hrnet_w18_small.ms_in1k": MS,
    "hrnet_w18_small_v2.gluon_in1k": Weights(),
    "hrnet_w18_small_v2.ms_in1k": MS,
    "hrnet_w18.ms_aug_in1k": MS.but(crop_pct=0.95),
    **{f"hrnet_w{width}.ms_in1k": MS for width in (18, 30, 32, 40, 44, 48, 64)},
    "hrnet_w18_ssld.paddle_in1k": SSLD,
    "hrnet_w48_ssld.paddle_in1k": SSLD,
}
