"""EfficientNet variants, and the mobile networks built of the same blocks.

The block tables are in _efficientnet_stages.py, the published weights in _efficientnet_weights.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.block_rows import BlockRow, Stage, make_divisible, scale_stages
from zoo.core.architectures.configs import _efficientnet_stages as tables
from zoo.core.architectures.configs._efficientnet_weights import WEIGHTS
from zoo.core.architectures.records import ClassifierInit, Spec

__all__ = ["VARIANTS", "WEIGHTS", "EfficientNetSpec"]


@dataclass(frozen=True, kw_only=True)
class EfficientNetSpec(Spec):
    """One network: a table of stages and how it is scaled.

    `channel_multiplier` and `depth_multiplier` (which may be given per stage) are the compound scaling of
    arXiv:1905.11946; `depth_trunc` is "ceil" or "round", `fix_first_last` keeps the repeats of the outer stages,
    `fix_stem` the width of the stem. `num_features` is the width of the last convolution (0: none), scaled too where
    `scale_features` says so. `group_size` makes grouped convolutions of the depthwise ones. `pad_type` is "" or
    "same", `aa_layer` replaces strides by "blur", "blurpc" or "avg" pooling, `se_layer` is "se" or "gc".
    """

    model_class: ClassVar[str] = "EfficientNet"
    classifier: ClassVar[str] = "classifier"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("classes")

    choices = {
        "pad_type": ("", "same"),
        "aa_layer": ("", "blur", "blurpc", "avg"),
        "se_layer": ("se", "gc"),
        "depth_trunc": ("ceil", "round"),
    }

    stages: tuple[Stage, ...]
    channel_multiplier: float = 1.0
    depth_multiplier: float | tuple[float, ...] = 1.0
    channel_divisor: int = 8
    round_limit: float = 0.9
    depth_trunc: str = "ceil"
    fix_first_last: bool = False
    stem_size: int = 32
    stem_kernel_size: int = 3
    fix_stem: bool = False
    num_features: int = 1280
    scale_features: bool = False
    group_size: int = 0
    act_layer: str = "relu"
    norm_layer: str = "batchnorm"
    norm_group_size: int = 0
    bn_eps: float = 1e-5
    pad_type: str = ""
    aa_layer: str = ""
    se_layer: str = "se"

    @property
    def first_conv(self) -> str:
        return "conv_stem"

    def round_channels(self, channels: int) -> int:
        """Channels at this network's width."""
        return make_divisible(channels * self.channel_multiplier, self.channel_divisor, self.round_limit)

    @property
    def stem_channels(self) -> int:
        return self.stem_size if self.fix_stem else self.round_channels(self.stem_size)

    @property
    def head_channels(self) -> int:
        return self.round_channels(self.num_features) if self.scale_features else self.num_features

    def scaled_stages(self) -> list[list[BlockRow]]:
        """The blocks of each stage at this network's width and depth."""
        return scale_stages(
            self.stages,
            width=self.channel_multiplier,
            depth=self.depth_multiplier,
            divisor=self.channel_divisor,
            round_limit=self.round_limit,
            rounding=self.depth_trunc,
            keep_ends=self.fix_first_last,
            group_size=self.group_size,
        )


def scaled(stages: tuple[Stage, ...], width: float = 1.0, depth: float = 1.0, **fields: Any) -> EfficientNetSpec:
    return EfficientNetSpec(stages=stages, channel_multiplier=width, depth_multiplier=depth, **fields)


def b(width: float, depth: float, **fields: Any) -> EfficientNetSpec:
    """EfficientNet at a width and a depth."""
    return scaled(tables.efficientnet(), width, depth, act_layer="silu", scale_features=True, **fields)


def x(expand: int, width: float, depth: float) -> EfficientNetSpec:
    """EfficientNet-X and -H."""
    return scaled(tables.efficientnet_x(expand), width, depth, act_layer="silu", scale_features=True)


def edge(width: float, depth: float, **fields: Any) -> EfficientNetSpec:
    """EfficientNet-EdgeTPU."""
    return scaled(tables.EFFICIENTNET_EDGE, width, depth, scale_features=True, **fields)


def condconv(experts: int, width: float, depth: float, **fields: Any) -> EfficientNetSpec:
    """EfficientNet with CondConv in its last three stages."""
    stages = tables.efficientnet(experts=experts)
    return scaled(stages, width, depth, act_layer="silu", scale_features=True, **fields)


def lite(width: float, depth: float, **fields: Any) -> EfficientNetSpec:
    """EfficientNet-Lite: no attention, stem, head and outer stages not scaled."""
    stages = tables.efficientnet(se=0.0)
    return scaled(stages, width, depth, act_layer="relu6", fix_stem=True, fix_first_last=True, **fields)


def v2(stages: tuple[Stage, ...], **fields: Any) -> EfficientNetSpec:
    """EfficientNetV2."""
    return EfficientNetSpec(stages=stages, act_layer="silu", **fields)


def v2_base(width: float, depth: float) -> EfficientNetSpec:
    """EfficientNetV2-B: channels go to the nearest multiple of 8, however much that takes away."""
    stages = tables.EFFICIENTNETV2_BASE
    return scaled(stages, width, depth, act_layer="silu", scale_features=True, round_limit=0.0, **TF)


def mobilenetv1(width: float = 1.0, num_features: int = 0) -> EfficientNetSpec:
    return scaled(tables.MOBILENETV1, width, act_layer="relu6", num_features=num_features)


def mobilenetv2(width: float = 1.0, depth: float = 1.0, **fields: Any) -> EfficientNetSpec:
    return scaled(tables.MOBILENETV2, width, depth, act_layer="relu6", **fields)


def mixnet(stages: tuple[Stage, ...], width: float = 1.0, depth: float = 1.0, **fields: Any) -> EfficientNetSpec:
    return scaled(stages, width, depth, depth_trunc="round", num_features=1536, **fields)


def tinynet(width: float, depth: float) -> EfficientNetSpec:
    """TinyNet (arXiv:2010.14819): EfficientNet's table, scaled down."""
    return scaled(tables.efficientnet(), width, depth, act_layer="silu", fix_stem=True, depth_trunc="round")


def edgetpu_v2(*widths: int, group_size: int = 64, **fields: Any) -> EfficientNetSpec:
    """MobileNet-EdgeTPU v2."""
    return EfficientNetSpec(stages=tables.mobilenet_edgetpu_v2(widths, group_size), **fields)


def test(**fields: Any) -> EfficientNetSpec:
    stages, head = tables.EFFICIENTNET_TEST, 256
    return EfficientNetSpec(stages=stages, act_layer="silu", stem_size=24, num_features=head, round_limit=0.0, **fields)


# Weights converted from TensorFlow.
TF: dict[str, Any] = {"bn_eps": 1e-3, "pad_type": "same"}
# Fixed width of stem and head, fixed depth of the outer stages.
FIX_ENDS: dict[str, Any] = {"fix_stem": True, "fix_first_last": True}
V2_T: dict[str, Any] = {"stem_size": 24, "scale_features": True, "channel_multiplier": 0.8, "depth_multiplier": 0.9}
V2_RW: dict[str, Any] = {"stem_size": 24, "scale_features": True, "num_features": 1792}

VARIANTS = {
    "efficientnet_b0": b(1.0, 1.0),
    "efficientnet_b1": b(1.0, 1.1),
    "efficientnet_b2": b(1.1, 1.2),
    "efficientnet_b3": b(1.2, 1.4),
    "efficientnet_b4": b(1.4, 1.8),
    "efficientnet_b5": b(1.6, 2.2),
    "efficientnet_b6": b(1.8, 2.6),
    "efficientnet_b7": b(2.0, 3.1),
    "efficientnet_b8": b(2.2, 3.6),
    "efficientnet_l2": b(4.3, 5.3),
    "tf_efficientnet_b0": b(1.0, 1.0, **TF),
    "tf_efficientnet_b1": b(1.0, 1.1, **TF),
    "tf_efficientnet_b2": b(1.1, 1.2, **TF),
    "tf_efficientnet_b3": b(1.2, 1.4, **TF),
    "tf_efficientnet_b4": b(1.4, 1.8, **TF),
    "tf_efficientnet_b5": b(1.6, 2.2, **TF),
    "tf_efficientnet_b6": b(1.8, 2.6, **TF),
    "tf_efficientnet_b7": b(2.0, 3.1, **TF),
    "tf_efficientnet_b8": b(2.2, 3.6, **TF),
    "tf_efficientnet_l2": b(4.3, 5.3, **TF),
    "efficientnet_b1_pruned": b(1.0, 1.1, pruned=True, **TF),
    "efficientnet_b2_pruned": b(1.1, 1.2, pruned=True, **TF),
    "efficientnet_b3_pruned": b(1.2, 1.4, pruned=True, **TF),
    "efficientnet_blur_b0": b(1.0, 1.0, aa_layer="blurpc"),
    "efficientnet_b0_gn": b(1.0, 1.0, norm_layer="groupnorm", norm_group_size=8),
    "efficientnet_b0_g8_gn": b(1.0, 1.0, group_size=8, norm_layer="groupnorm", norm_group_size=8),
    "efficientnet_b3_gn": b(1.2, 1.4, channel_divisor=16, norm_layer="groupnorm", norm_group_size=16),
    "efficientnet_b3_g8_gn": b(1.2, 1.4, group_size=8, channel_divisor=16, norm_layer="groupnorm", norm_group_size=16),
    # Batch norm in spite of its name, which is published and stays.
    "efficientnet_b0_g16_evos": b(1.0, 1.0, group_size=16, channel_divisor=16),
    "efficientnet_x_b3": x(6, 1.2, 1.4),
    "efficientnet_x_b5": x(6, 1.6, 2.2),
    "efficientnet_h_b5": x(4, 1.92, 2.2),
    "efficientnet_es": edge(1.0, 1.0),
    "efficientnet_em": edge(1.0, 1.1),
    "efficientnet_el": edge(1.2, 1.4),
    # Pruned to zeros: the weights are sparse, the shapes are those of the whole network.
    "efficientnet_es_pruned": edge(1.0, 1.0),
    "efficientnet_el_pruned": edge(1.2, 1.4),
    "tf_efficientnet_es": edge(1.0, 1.0, **TF),
    "tf_efficientnet_em": edge(1.0, 1.1, **TF),
    "tf_efficientnet_el": edge(1.2, 1.4, **TF),
    "efficientnet_cc_b0_4e": condconv(4, 1.0, 1.0),
    "efficientnet_cc_b0_8e": condconv(8, 1.0, 1.0),
    "efficientnet_cc_b1_8e": condconv(8, 1.0, 1.1),
    "tf_efficientnet_cc_b0_4e": condconv(4, 1.0, 1.0, **TF),
    "tf_efficientnet_cc_b0_8e": condconv(8, 1.0, 1.0, **TF),
    "tf_efficientnet_cc_b1_8e": condconv(8, 1.0, 1.1, **TF),
    "efficientnet_lite0": lite(1.0, 1.0),
    "efficientnet_lite1": lite(1.0, 1.1),
    "efficientnet_lite2": lite(1.1, 1.2),
    "efficientnet_lite3": lite(1.2, 1.4),
    "efficientnet_lite4": lite(1.4, 1.8),
    "tf_efficientnet_lite0": lite(1.0, 1.0, **TF),
    "tf_efficientnet_lite1": lite(1.0, 1.1, **TF),
    "tf_efficientnet_lite2": lite(1.1, 1.2, **TF),
    "tf_efficientnet_lite3": lite(1.2, 1.4, **TF),
    "tf_efficientnet_lite4": lite(1.4, 1.8, **TF),
    "efficientnetv2_rw_t": v2(tables.EFFICIENTNETV2_S, **V2_T),
    "gc_efficientnetv2_rw_t": v2(tables.EFFICIENTNETV2_S, **V2_T, se_layer="gc"),
    "efficientnetv2_rw_s": v2(tables.EFFICIENTNETV2_RW, **V2_RW),
    "efficientnetv2_rw_m": v2(
        tables.EFFICIENTNETV2_RW, **V2_RW, channel_multiplier=1.2, depth_multiplier=(1.2, 1.2, 1.2, 1.2, 1.6, 1.6)
    ),
    "efficientnetv2_s": v2(tables.EFFICIENTNETV2_S, stem_size=24),
    "efficientnetv2_m": v2(tables.EFFICIENTNETV2_M, stem_size=24),
    "efficientnetv2_l": v2(tables.EFFICIENTNETV2_L),
    "efficientnetv2_xl": v2(tables.EFFICIENTNETV2_XL),
    "tf_efficientnetv2_s": v2(tables.EFFICIENTNETV2_S, stem_size=24, **TF),
    "tf_efficientnetv2_m": v2(tables.EFFICIENTNETV2_M, stem_size=24, **TF),
    "tf_efficientnetv2_l": v2(tables.EFFICIENTNETV2_L, **TF),
    "tf_efficientnetv2_xl": v2(tables.EFFICIENTNETV2_XL, **TF),
    "tf_efficientnetv2_b0": v2_base(1.0, 1.0),
    "tf_efficientnetv2_b1": v2_base(1.0, 1.1),
    "tf_efficientnetv2_b2": v2_base(1.1, 1.2),
    "tf_efficientnetv2_b3": v2_base(1.2, 1.4),
    "mixnet_s": mixnet(tables.MIXNET_S, stem_size=16),
    "mixnet_m": mixnet(tables.MIXNET_M, stem_size=24),
    "mixnet_l": mixnet(tables.MIXNET_M, 1.3, stem_size=24),
    "mixnet_xl": mixnet(tables.MIXNET_M, 1.6, 1.2, stem_size=24),
    "mixnet_xxl": mixnet(tables.MIXNET_M, 2.4, 1.3, stem_size=24),
    "tf_mixnet_s": mixnet(tables.MIXNET_S, stem_size=16, **TF),
    "tf_mixnet_m": mixnet(tables.MIXNET_M, stem_size=24, **TF),
    "tf_mixnet_l": mixnet(tables.MIXNET_M, 1.3, stem_size=24, **TF),
    "mnasnet_050": scaled(tables.MNASNET_B1, 0.5),
    "mnasnet_075": scaled(tables.MNASNET_B1, 0.75),
    "mnasnet_100": scaled(tables.MNASNET_B1, 1.0),
    "mnasnet_140": scaled(tables.MNASNET_B1, 1.4),
    "mnasnet_small": scaled(tables.MNASNET_SMALL, stem_size=8),
    "semnasnet_050": scaled(tables.MNASNET_A1, 0.5),
    "semnasnet_075": scaled(tables.MNASNET_A1, 0.75),
    "semnasnet_100": scaled(tables.MNASNET_A1, 1.0),
    "semnasnet_140": scaled(tables.MNASNET_A1, 1.4),
    "fbnetc_100": scaled(tables.FBNET_C, stem_size=16, num_features=1984),
    "spnasnet_100": scaled(tables.SPNASNET),
    "mobilenetv1_100": mobilenetv1(),
    "mobilenetv1_100h": mobilenetv1(num_features=1024),
    "mobilenetv1_125": mobilenetv1(1.25),
    "mobilenetv2_035": mobilenetv2(0.35),
    "mobilenetv2_050": mobilenetv2(0.5),
    "mobilenetv2_075": mobilenetv2(0.75),
    "mobilenetv2_100": mobilenetv2(1.0),
    "mobilenetv2_110d": mobilenetv2(1.1, 1.2, **FIX_ENDS),
    "mobilenetv2_120d": mobilenetv2(1.2, 1.4, **FIX_ENDS),
    "mobilenetv2_140": mobilenetv2(1.4, num_features=1792),
    "mobilenet_edgetpu_100": EfficientNetSpec(stages=tables.MOBILENET_EDGETPU),
    "mobilenet_edgetpu_v2_xs": edgetpu_v2(16, 32, 48, 96, 144, 160, 192),
    "mobilenet_edgetpu_v2_s": edgetpu_v2(24, 48, 64, 128, 160, 192, 256, stem_size=64, stem_kernel_size=5),
    "mobilenet_edgetpu_v2_m": edgetpu_v2(
        32, 64, 80, 160, 192, 240, 320, stem_size=64, stem_kernel_size=5, num_features=1344
    ),
    "mobilenet_edgetpu_v2_l": edgetpu_v2(
        32, 64, 96, 192, 240, 256, 384, group_size=128, stem_size=64, stem_kernel_size=7, num_features=1408
    ),
    "tinynet_a": tinynet(1.0, 1.2),
    "tinynet_b": tinynet(0.75, 1.1),
    "tinynet_c": tinynet(0.54, 0.85),
    "tinynet_d": tinynet(0.54, 0.695),
    "tinynet_e": tinynet(0.51, 0.6),
    "test_efficientnet": test(),
    "test_efficientnet_gn": test(norm_layer="groupnorm", norm_group_size=8),
    "test_efficientnet_ln": test(norm_layer="layernorm"),
    "test_efficientnet_evos": test(norm_layer="evonorms0", norm_group_size=8),
}
