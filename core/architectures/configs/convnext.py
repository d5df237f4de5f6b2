"""ConvNeXt variants; the published weights are in _convnext_weights.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs._convnext_weights import WEIGHTS
from zoo.core.architectures.records import ClassifierInit, Spec

__all__ = ["VARIANTS", "WEIGHTS", "ConvNeXtSpec"]


@dataclass(frozen=True, kw_only=True)
class ConvNeXtSpec(Spec):
    """One ConvNeXt.

    `depths` and `dims` are the blocks and channels of the four stages, `kernel_sizes` their depthwise kernels (or one
    for all). `stem_type` is "patch" (one convolution of `patch_size` and that stride) or two 3x3 with stride 2:
    "overlap", "overlap_tiered" (the first narrower), "overlap_act" (an activation between). `conv_mlp` makes 1x1
    convolutions of the linear layers, `use_grn` puts V2's global response norm between them. `ls_init_value` starts
    the scale of each branch (None: no scale). `head_norm_first` normalises before pooling instead of after it,
    `head_hidden_size` is the width of a layer before the classifier (0: none), `head_init_scale` multiplies the
    classifier's initial weights.
    """

    model_class: ClassVar[str] = "ConvNeXt"
    classifier: ClassVar[str] = "head.fc"

    choices = {
        "stem_type": ("patch", "overlap", "overlap_tiered", "overlap_act"),
        "norm_layer": ("layernorm", "rmsnorm", "simplenorm"),
    }

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    kernel_sizes: int | tuple[int, ...] = 7
    stem_type: str = "patch"
    patch_size: int = 4
    conv_mlp: bool = False
    conv_bias: bool = True
    use_grn: bool = False
    ls_init_value: float | None = 1e-6
    act_layer: str = "gelu"
    norm_layer: str = "layernorm"
    norm_eps: float = 1e-6
    head_norm_first: bool = False
    head_hidden_size: int = 0
    head_init_scale: float = 1.0

    @property
    def first_conv(self) -> str:
        return "stem.0"

    @property
    def classifier_init(self) -> ClassifierInit:  # type: ignore[override]  # it depends on the variant here
        return ClassifierInit("normal", 0.02 * self.head_init_scale)


def convnext(depths: tuple[int, ...], width: int, **fields: Any) -> ConvNeXtSpec:
    """Channels double from stage to stage."""
    return ConvNeXtSpec(depths=depths, dims=(width, 2 * width, 4 * width, 8 * width), **fields)


# Depths of the sizes.
ZEPTO, ATTO, NANO = (2, 2, 4, 2), (2, 2, 6, 2), (2, 2, 8, 2)
TINY, SMALL, XXLARGE = (3, 3, 9, 3), (3, 3, 27, 3), (3, 4, 30, 3)

CONV: dict[str, Any] = {"conv_mlp": True}
TIERED: dict[str, Any] = {**CONV, "stem_type": "overlap_tiered"}
V2: dict[str, Any] = {"use_grn": True, "ls_init_value": None}
V2_CONV: dict[str, Any] = {**V2, **CONV}
TEST: dict[str, Any] = {"norm_eps": 1e-5, "act_layer": "gelu_tanh"}

VARIANTS = {
    "convnext_zepto_rms": convnext(ZEPTO, 32, **CONV, norm_layer="simplenorm"),
    "convnext_zepto_rms_ols": convnext(ZEPTO, 32, **CONV, norm_layer="simplenorm", stem_type="overlap_act"),
    "convnext_atto": convnext(ATTO, 40, **CONV),
    "convnext_atto_ols": convnext(ATTO, 40, **TIERED),
    "convnext_atto_rms": convnext(ATTO, 40, **CONV, norm_layer="rmsnorm"),
    "convnext_femto": convnext(ATTO, 48, **CONV),
    "convnext_femto_ols": convnext(ATTO, 48, **TIERED),
    "convnext_pico": convnext(ATTO, 64, **CONV),
    "convnext_pico_ols": convnext(ATTO, 64, **TIERED),
    "convnext_nano": convnext(NANO, 80, **CONV),
    "convnext_nano_ols": convnext(NANO, 80, **CONV, stem_type="overlap"),
    "convnext_tiny_hnf": convnext(TINY, 96, **CONV, head_norm_first=True),
    "convnext_tiny": convnext(TINY, 96),
    "convnext_small": convnext(SMALL, 96),
    "convnext_base": convnext(SMALL, 128),
    "convnext_large": convnext(SMALL, 192),
    "convnext_large_mlp": convnext(SMALL, 192, head_hidden_size=1536),
    "convnext_xlarge": convnext(SMALL, 256),
    "convnext_xxlarge": convnext(XXLARGE, 384, norm_eps=1e-5),
    "convnextv2_atto": convnext(ATTO, 40, **V2_CONV),
    "convnextv2_femto": convnext(ATTO, 48, **V2_CONV),
    "convnextv2_pico": convnext(ATTO, 64, **V2_CONV),
    "convnextv2_nano": convnext(NANO, 80, **V2_CONV),
    "convnextv2_tiny": convnext(TINY, 96, **V2),
    "convnextv2_small": convnext(SMALL, 96, **V2),
    "convnextv2_base": convnext(SMALL, 128, **V2),
    "convnextv2_large": convnext(SMALL, 192, **V2),
    "convnextv2_huge": convnext(SMALL, 352, **V2),
    "test_convnext": ConvNeXtSpec(depths=(1, 2, 4, 2), dims=(24, 32, 48, 64), **TEST),
    "test_convnext2": ConvNeXtSpec(depths=(1, 1, 1, 1), dims=(32, 64, 96, 128), **TEST),
    "test_convnext3": ConvNeXtSpec(
        depths=(1, 1, 1, 1), dims=(32, 64, 96, 128), kernel_sizes=(7, 5, 5, 3), norm_eps=1e-5, act_layer="silu"
    ),
}
