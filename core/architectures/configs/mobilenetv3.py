"""MobileNetV3, MobileNetV4, FBNetV3 and LCNet variants.

The block tables are in _mobilenetv3_stages.py, the published weights in _mobilenetv3_weights.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.block_rows import Stage
from zoo.core.architectures.configs import _mobilenetv3_stages as tables
from zoo.core.architectures.configs._mobilenetv3_weights import WEIGHTS
from zoo.core.architectures.configs.efficientnet import EfficientNetSpec

__all__ = ["VARIANTS", "WEIGHTS", "MobileNetV3Spec"]


@dataclass(frozen=True, kw_only=True)
class MobileNetV3Spec(EfficientNetSpec):
    """One network; `num_features` is the width of the convolution after the pooling.

    That convolution has a bias (`head_bias`) or a norm (`head_norm`). `se_act` ("" for the block's own), `se_gate`,
    `se_of_expanded` and `se_divisor` are those of squeeze-and-excitation: its activation, its gate, whether its width
    is measured against the expanded channels, and what that is a multiple of. `layer_scale` is the initial value of
    the branches' scales, 0 for none.
    """

    model_class: ClassVar[str] = "MobileNetV3"

    choices = {**EfficientNetSpec.choices, "se_gate": ("sigmoid", "hard_sigmoid")}

    stem_size: int = 16
    act_layer: str = "hard_swish"
    head_bias: bool = True
    head_norm: bool = False
    se_act: str = ""
    se_gate: str = "hard_sigmoid"
    se_of_expanded: bool = True
    se_divisor: int = 1
    layer_scale: float = 0.0


def v3(stages: tuple[Stage, ...], width: float = 1.0, **fields: Any) -> MobileNetV3Spec:
    """MobileNetV3; narrow ones keep the width of the stem."""
    return MobileNetV3Spec(
        stages=stages, channel_multiplier=width, fix_stem=width < 0.75, se_act="relu", se_divisor=8, **fields
    )


def large(width: float, **fields: Any) -> MobileNetV3Spec:
    return v3(tables.mobilenetv3_large(), width, **fields)


def small(width: float, **fields: Any) -> MobileNetV3Spec:
    return v3(tables.mobilenetv3_small(), width, num_features=1024, **fields)


def fbnetv3(stages: tuple[Stage, ...], stem_size: int) -> MobileNetV3Spec:
    return MobileNetV3Spec(
        stages=stages,
        stem_size=stem_size,
        num_features=1984,
        round_limit=0.95,
        head_bias=False,
        se_of_expanded=False,
        se_divisor=8,
    )


def lcnet(width: float) -> MobileNetV3Spec:
    return MobileNetV3Spec(stages=tables.LCNET, channel_multiplier=width, se_act="relu")


def v4(stages: tuple[Stage, ...], width: float = 1.0, **fields: Any) -> MobileNetV3Spec:
    """MobileNetV4; narrow ones keep the width of the stem."""
    given = {"stem_size": 32, "act_layer": "relu", **fields}
    return MobileNetV3Spec(stages=stages, channel_multiplier=width, fix_stem=width < 1.0, head_norm=True, **given)


def hybrid_medium(width: float = 1.0) -> MobileNetV3Spec:
    return v4(tables.MOBILENETV4_HYBRID_MEDIUM, width, layer_scale=1e-5)


def hybrid_large(width: float = 1.0) -> MobileNetV3Spec:
    return v4(tables.MOBILENETV4_HYBRID_LARGE, width, stem_size=24, act_layer="gelu", layer_scale=1e-5)


# Weights converted from TensorFlow.
TF: dict[str, Any] = {"bn_eps": 1e-3, "pad_type": "same"}

VARIANTS = {
    "mobilenetv3_large_075": large(0.75),
    "mobilenetv3_large_100": large(1.0),
    "mobilenetv3_large_150d": large(1.5, depth_multiplier=1.2),
    "mobilenetv3_small_050": small(0.5),
    "mobilenetv3_small_075": small(0.75),
    "mobilenetv3_small_100": small(1.0),
    # The first implementation for PyTorch: attention rounded and activated otherwise.
    "mobilenetv3_rw": MobileNetV3Spec(stages=tables.mobilenetv3_large(skip=False), bn_eps=1e-3, head_bias=False),
    "tf_mobilenetv3_large_075": large(0.75, **TF),
    "tf_mobilenetv3_large_100": large(1.0, **TF),
    "tf_mobilenetv3_large_minimal_100": v3(tables.mobilenetv3_large(minimal=True), act_layer="relu", **TF),
    "tf_mobilenetv3_small_075": small(0.75, **TF),
    "tf_mobilenetv3_small_100": small(1.0, **TF),
    "tf_mobilenetv3_small_minimal_100": v3(
        tables.mobilenetv3_small(minimal=True), act_layer="relu", num_features=1024, **TF
    ),
    "fbnetv3_b": fbnetv3(tables.FBNETV3_B, 16),
    "fbnetv3_d": fbnetv3(tables.FBNETV3_D, 24),
    "fbnetv3_g": fbnetv3(tables.FBNETV3_G, 32),
    "lcnet_035": lcnet(0.35),
    "lcnet_050": lcnet(0.5),
    "lcnet_075": lcnet(0.75),
    "lcnet_100": lcnet(1.0),
    "lcnet_150": lcnet(1.5),
    "mobilenetv4_conv_small_035": v4(tables.MOBILENETV4_CONV_SMALL, 0.35),
    "mobilenetv4_conv_small_050": v4(tables.MOBILENETV4_CONV_SMALL, 0.5),
    "mobilenetv4_conv_small": v4(tables.MOBILENETV4_CONV_SMALL),
    "mobilenetv4_conv_medium": v4(tables.MOBILENETV4_CONV_MEDIUM),
    "mobilenetv4_conv_large": v4(tables.MOBILENETV4_CONV_LARGE, stem_size=24),
    "mobilenetv4_hybrid_medium": hybrid_medium(),
    "mobilenetv4_hybrid_large": hybrid_large(),
    "mobilenetv4_conv_aa_medium": v4(tables.MOBILENETV4_CONV_MEDIUM, aa_layer="avg"),
    "mobilenetv4_conv_blur_medium": v4(tables.MOBILENETV4_CONV_MEDIUM, aa_layer="blurpc"),
    "mobilenetv4_conv_aa_large": v4(tables.MOBILENETV4_CONV_LARGE, stem_size=24, aa_layer="avg"),
    "mobilenetv4_hybrid_medium_075": hybrid_medium(0.75),
    "mobilenetv4_hybrid_large_075": hybrid_large(0.75),
}
