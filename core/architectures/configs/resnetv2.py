"""ResNet V2 (pre-activation) and Big Transfer variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import HALF, ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class ResNetV2Spec(Spec):
    """One pre-activation ResNet.

    `block` is "basic" or "bottleneck", whose width is `bottle_ratio` of the `channels` between blocks; `width_factor`
    widens everything. `stem_type` is "" (one 7x7), "deep" (three 3x3) or "tiered" (three 3x3, the first narrower); its
    pooling pads with zeros where `stem_pad` is "zero", instead of with minus infinity. `avg_down` projects shortcuts
    by a 2x2 average and a 1x1 convolution. `conv_layer` is "" or "std" (standardised weights, `std_eps`).
    """

    model_class: ClassVar[str] = "ResNetV2"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.01)

    choices = {
        "block": ("basic", "bottleneck"),
        "stem_type": ("", "deep", "tiered"),
        "stem_pad": ("", "zero"),
        "conv_layer": ("", "std"),
    }

    layers: tuple[int, ...]
    block: str = "bottleneck"
    channels: tuple[int, ...] = (256, 512, 1024, 2048)
    bottle_ratio: float = 0.25
    width_factor: int = 1
    stem_width: int = 64
    stem_type: str = ""
    stem_pad: str = ""
    avg_down: bool = False
    act_layer: str = "relu"
    norm_layer: str = "batchnorm"
    conv_layer: str = ""
    std_eps: float = 1e-6

    @property
    def first_conv(self) -> str:
        return "stem.conv1" if self.stem_type else "stem.conv"


def basic(*layers: int, **fields: Any) -> ResNetV2Spec:
    return ResNetV2Spec(layers=layers, block="basic", channels=(64, 128, 256, 512), bottle_ratio=1.0, **fields)


def bottleneck(*layers: int, **fields: Any) -> ResNetV2Spec:
    return ResNetV2Spec(layers=layers, **fields)


def bit(*layers: int, width: int) -> ResNetV2Spec:
    """Big Transfer (arXiv:1912.11370): group norm and standardised weights."""
    fields: dict[str, Any] = {"stem_pad": "zero", "norm_layer": "groupnorm", "conv_layer": "std", "std_eps": 1e-8}
    return bottleneck(*layers, width_factor=width, **fields)


# Stems and shortcuts of the D and T variants (arXiv:1812.01187 and the timm names).
D: dict[str, Any] = {"stem_type": "deep", "avg_down": True}
T: dict[str, Any] = {"stem_type": "tiered", "avg_down": True}

VARIANTS = {
    "resnetv2_18": basic(2, 2, 2, 2),
    "resnetv2_18d": basic(2, 2, 2, 2, **D),
    "resnetv2_34": basic(3, 4, 6, 3),
    "resnetv2_34d": basic(3, 4, 6, 3, **D),
    "resnetv2_50": bottleneck(3, 4, 6, 3),
    "resnetv2_50d": bottleneck(3, 4, 6, 3, **D),
    "resnetv2_50t": bottleneck(3, 4, 6, 3, **T),
    "resnetv2_101": bottleneck(3, 4, 23, 3),
    "resnetv2_101d": bottleneck(3, 4, 23, 3, **D),
    "resnetv2_152": bottleneck(3, 8, 36, 3),
    "resnetv2_152d": bottleneck(3, 8, 36, 3, **D),
    "resnetv2_50d_gn": bottleneck(3, 4, 6, 3, **D, norm_layer="groupnorm"),
    "resnetv2_50d_evos": bottleneck(3, 4, 6, 3, **D, norm_layer="evonorms0"),
    "resnetv2_50d_frn": bottleneck(3, 4, 6, 3, **D, norm_layer="frntlu"),
    "resnetv2_50x1_bit": bit(3, 4, 6, 3, width=1),
    "resnetv2_50x3_bit": bit(3, 4, 6, 3, width=3),
    "resnetv2_101x1_bit": bit(3, 4, 23, 3, width=1),
    "resnetv2_101x3_bit": bit(3, 4, 23, 3, width=3),
    "resnetv2_152x2_bit": bit(3, 8, 36, 3, width=2),
    "resnetv2_152x4_bit": bit(3, 8, 36, 3, width=4),
}

TIMM = Weights(mean=HALF, std=HALF)
RA4 = TIMM.but(crop_pct=0.9, test_input_size=288, test_crop_pct=1.0)
A1H = RA4.but(crop_pct=0.95)
# Big Transfer: these are converted from npz files. "goog_distilled" and "goog_teacher" are of arXiv:2106.05237.
DISTILLED = TIMM.but(custom_load=True)
BIT = DISTILLED.but(interpolation="bilinear")
BIT_21K = BIT.but(num_classes=21843)
BIT_FT = BIT.but(input_size=448, crop_pct=1.0)

# The first tag of a model is its default.
WEIGHTS = {
    "resnetv2_18.ra4_e3600_r224_in1k": RA4,
    "resnetv2_18d.ra4_e3600_r224_in1k": RA4,
    "resnetv2_34.ra4_e3600_r224_in1k": RA4,
    "resnetv2_34d.ra4_e3600_r224_in1k": RA4,
    "resnetv2_34d.ra4_e3600_r384_in1k": TIMM.but(input_size=384, test_input_size=448, crop_pct=1.0),
    "resnetv2_50.a1h_in1k": A1H,
    "resnetv2_50d.untrained": TIMM,
    "resnetv2_50d_evos.ah_in1k": A1H,
    "resnetv2_50d_frn.untrained": TIMM,
    "resnetv2_50d_gn.ah_in1k": A1H,
    "resnetv2_50t.untrained": TIMM,
    "resnetv2_50x1_bit.goog_distilled_in1k": DISTILLED,
    "resnetv2_50x1_bit.goog_in21k_ft_in1k": BIT_FT,
    "resnetv2_50x1_bit.goog_in21k": BIT_21K,
    "resnetv2_50x3_bit.goog_in21k_ft_in1k": BIT_FT,
    "resnetv2_50x3_bit.goog_in21k": BIT_21K,
    "resnetv2_101.a1h_in1k": A1H,
    "resnetv2_101d.untrained": TIMM,
    "resnetv2_101x1_bit.goog_in21k_ft_in1k": BIT_FT,
    "resnetv2_101x1_bit.goog_in21k": BIT_21K,
    "resnetv2_101x3_bit.goog_in21k_ft_in1k": BIT_FT,
    "resnetv2_101x3_bit.goog_in21k": BIT_21K,
    "resnetv2_152.untrained": TIMM,
    "resnetv2_152d.untrained": TIMM,
    "resnetv2_152x2_bit.goog_teacher_in21k_ft_in1k": DISTILLED,
    "resnetv2_152x2_bit.goog_teacher_in21k_ft_in1k_384": DISTILLED.but(input_size=384, crop_pct=1.0),
    "resnetv2_152x2_bit.goog_in21k_ft_in1k": BIT_FT,
    "resnetv2_152x2_bit.goog_in21k": BIT_21K,
    "resnetv2_152x4_bit.goog_in21k_ft_in1k": BIT_FT.but(input_size=480),
    "resnetv2_152x4_bit.goog_in21k": BIT_21K,
}
