"""MambaOut variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class MambaOutSpec(Spec):
    """One MambaOut: blocks and channels of each stage.

    A block has `expansion_ratio` times the channels in either half of its gate, and convolves `conv_ratio` times the
    channels of its input. `stem_mid_norm` puts a norm between the stem's convolutions; `downsample` is "conv" (a norm
    behind the convolution) or "conv_nf" (before it). `ls_init_value` starts the scale of a branch (None: no scale).
    `head_norm` puts a norm behind the hidden layer of the head.
    """

    model_class: ClassVar[str] = "MambaOut"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    choices = {"downsample": ("conv", "conv_nf")}

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    expansion_ratio: float = 8 / 3
    conv_ratio: float = 1.0
    kernel_size: int = 7
    act_layer: str = "gelu"
    stem_mid_norm: bool = True
    downsample: str = "conv"
    ls_init_value: float | None = None
    head_norm: bool = True

    @property
    def first_conv(self) -> str:
        return "stem.conv1"


TINY, BASE = (96, 192, 384, 576), (128, 256, 512, 768)


def later(depths: tuple[int, ...], dims: tuple[int, ...] = BASE, **fields: Any) -> MambaOutSpec:
    """The variants that are not the paper's."""
    return MambaOutSpec(
        depths=depths,
        dims=dims,
        stem_mid_norm=False,
        downsample="conv_nf",
        ls_init_value=1e-5,
        head_norm=False,
        **fields,
    )


VARIANTS = {
    # Table 5 of arXiv:2405.07992.
    "mambaout_femto": MambaOutSpec(depths=(3, 3, 9, 3), dims=(48, 96, 192, 288)),
    "mambaout_kobe": MambaOutSpec(depths=(3, 3, 15, 3), dims=(48, 96, 192, 288)),
    "mambaout_tiny": MambaOutSpec(depths=(3, 3, 9, 3), dims=TINY),
    "mambaout_small": MambaOutSpec(depths=(3, 4, 27, 3), dims=TINY),
    "mambaout_base": MambaOutSpec(depths=(3, 4, 27, 3), dims=BASE),
    "mambaout_small_rw": later((3, 4, 27, 3), TINY),
    "mambaout_base_short_rw": later((3, 3, 25, 3), expansion_ratio=3, conv_ratio=1.25),
    "mambaout_base_tall_rw": later((3, 4, 30, 3), expansion_ratio=2.5, conv_ratio=1.25),
    "mambaout_base_wide_rw": later((3, 4, 27, 3), expansion_ratio=3, conv_ratio=1.5, act_layer="silu"),
    "mambaout_base_plus_rw": later((3, 4, 30, 3), expansion_ratio=3, conv_ratio=1.5, act_layer="silu"),
    "test_mambaout": later((1, 1, 3, 1), (16, 32, 48, 64), expansion_ratio=3, act_layer="silu"),
}

PLAIN = Weights(test_input_size=288, crop_pct=1.0)
BASE_E500 = PLAIN.but(crop_pct=0.95, test_crop_pct=1.0)

WEIGHTS = {
    "mambaout_femto.in1k": PLAIN,
    "mambaout_kobe.in1k": PLAIN,
    "mambaout_tiny.in1k": PLAIN,
    "mambaout_small.in1k": PLAIN,
    "mambaout_base.in1k": PLAIN,
    "mambaout_small_rw.sw_e450_in1k": PLAIN,
    "mambaout_base_short_rw.sw_e500_in1k": BASE_E500,
    "mambaout_base_tall_rw.sw_e500_in1k": BASE_E500,
    "mambaout_base_wide_rw.sw_e500_in1k": BASE_E500,
    "mambaout_base_plus_rw.sw_e150_in12k_ft_in1k": PLAIN,
    "mambaout_base_plus_rw.sw_e150_r384_in12k_ft_in1k": PLAIN.but(
        input_size=384, test_input_size=384, crop_mode="squash"
    ),
    "mambaout_base_plus_rw.sw_e150_in12k": PLAIN.but(num_classes=11821),
    "test_mambaout.untrained": PLAIN.but(input_size=160, test_input_size=192),
}
