"""EdgeNeXt variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.convnext import ConvNeXtSpec
from zoo.core.architectures.records import Weights


@dataclass(frozen=True, kw_only=True)
class EdgeNeXtSpec(ConvNeXtSpec):
    """One EdgeNeXt: a ConvNeXt whose stages end in blocks of attention between channels.

    For each stage, `global_block_counts` says how many blocks these are, `heads` how many heads they have, `d2_scales`
    into how many groups their channels are divided and `use_pos_emb` whether they are told positions.
    `downsample_block` leaves downsampling to the first block of a stage. `stem_type` is "patch" or "overlap", one
    convolution of 9 pixels with stride 4.
    """

    model_class: ClassVar[str] = "EdgeNeXt"

    choices = {**ConvNeXtSpec.choices, "stem_type": ("patch", "overlap")}

    depths: tuple[int, ...] = (3, 3, 9, 3)
    kernel_sizes: int | tuple[int, ...] = (3, 5, 7, 9)
    global_block_counts: tuple[int, ...] = (0, 1, 1, 1)
    heads: tuple[int, ...] = (8, 8, 8, 8)
    d2_scales: tuple[int, ...] = (2, 2, 3, 4)
    use_pos_emb: tuple[bool, ...] = (False, True, False, False)
    downsample_block: bool = False


FEW_HEADS: dict[str, Any] = {"heads": (4, 4, 4, 4)}

# Table 1 of arXiv:2206.10589.
VARIANTS = {
    "edgenext_xx_small": EdgeNeXtSpec(depths=(2, 2, 6, 2), dims=(24, 48, 88, 168), **FEW_HEADS),
    "edgenext_x_small": EdgeNeXtSpec(dims=(32, 64, 100, 192), **FEW_HEADS),
    "edgenext_small": EdgeNeXtSpec(dims=(48, 96, 160, 304)),
    "edgenext_base": EdgeNeXtSpec(dims=(80, 160, 288, 584)),
    "edgenext_small_rw": EdgeNeXtSpec(
        dims=(48, 96, 192, 384), downsample_block=True, conv_bias=False, stem_type="overlap"
    ),
}

PLAIN = Weights(input_size=256, test_input_size=288, crop_pct=0.9, test_crop_pct=1.0, license="mit")
LARGER = PLAIN.but(test_input_size=320)
# Trained by the recipe of arXiv:2204.03475.
USI = LARGER.but(crop_pct=0.95)

WEIGHTS = {
    "edgenext_xx_small.in1k": PLAIN,
    "edgenext_x_small.in1k": PLAIN,
    "edgenext_small.usi_in1k": USI,
    "edgenext_base.usi_in1k": USI,
    "edgenext_base.in21k_ft_in1k": USI,
    "edgenext_small_rw.sw_in1k": LARGER,
}
