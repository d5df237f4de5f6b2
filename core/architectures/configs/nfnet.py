"""Normaliser-free networks and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.records import HALF, ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class NfNetSpec(Spec):
    """One normaliser-free network.

    `alpha` scales each residual branch. `stem_type` is "3x3", "7x7_pool" (followed by max pooling) or "deep_quad" (four
    3x3, the first three of an eighth, a quarter and half of the width). `group_size` is the channels of a convolution
    group (0: one group). `attn_layer` is "", "se" (hidden width: `attn_ratio`) or "eca", and `attn_gain` multiplies
    what it gives. `width_factor` scales all channels; the width within a block is `bottle_ratio` of its output, or of
    its input where `reg` says so, which also puts the attention inside the block. `extra_conv` adds a second 3x3.
    `gamma_in_act` scales activations, not the weights after them, as DeepMind's code does. `same_padding` pads as
    TensorFlow does. `skipinit` gives each branch a learned scale that starts as zero. `num_features` is the width of a
    last 1x1 convolution (0: none).
    """

    model_class: ClassVar[str] = "NormFreeNet"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.01)

    choices = {"stem_type": ("3x3", "7x7_pool", "deep_quad"), "attn_layer": ("", "se", "eca")}

    depths: tuple[int, ...]
    channels: tuple[int, ...]
    alpha: float = 0.2
    stem_type: str
    stem_width: int = 0
    group_size: int = 0
    attn_layer: str = ""
    attn_ratio: float = 1 / 16
    attn_gain: float = 2.0
    width_factor: float = 1.0
    bottle_ratio: float = 0.5
    num_features: int = 0
    reg: bool = False
    extra_conv: bool = False
    gamma_in_act: bool = False
    same_padding: bool = False
    skipinit: bool = False
    act_layer: str = "silu"

    @property
    def first_conv(self) -> str:
        return "stem.conv1" if self.stem_type == "deep_quad" else "stem.conv"

    def round_channels(self, channels: int) -> int:
        """Channels at this network's width, a multiple of 8 (the paper's own numbers need not be)."""
        return make_divisible(channels * self.width_factor)

    @property
    def stem_channels(self) -> int:
        return self.round_channels(self.stem_width or self.channels[0])


def resnet(*depths: int, **fields: Any) -> NfNetSpec:
    """NF-ResNet (arXiv:2101.08692)."""
    stem: dict[str, Any] = {"stem_type": "7x7_pool", "stem_width": 64}
    channels = (256, 512, 1024, 2048)
    return NfNetSpec(depths=depths, channels=channels, bottle_ratio=0.25, act_layer="relu", **stem, **fields)


def regnet(*depths: int, channels: tuple[int, ...] = (48, 104, 208, 440)) -> NfNetSpec:
    """NF-RegNet-B (arXiv:2101.08692, appendix E)."""
    return NfNetSpec(
        depths=depths,
        channels=channels,
        stem_type="3x3",
        group_size=8,
        width_factor=0.75,
        bottle_ratio=2.25,
        num_features=1280 * channels[-1] // 440,
        reg=True,
        attn_layer="se",
        attn_ratio=0.5,
    )


def nfnet(
    *depths: int, channels: tuple[int, ...] = (256, 512, 1536, 1536), widen: float = 2.0, **fields: Any
) -> NfNetSpec:
    """NFNet (arXiv:2102.06171); the last convolution is `widen` times as wide as the last stage."""
    common: dict[str, Any] = {"stem_type": "deep_quad", "stem_width": 128, "extra_conv": True}
    return NfNetSpec(depths=depths, channels=channels, num_features=int(channels[-1] * widen), **common, **fields)


def nfnet_f(level: int, **fields: Any) -> NfNetSpec:
    """NFNet-F0 to F7: F0's depths, `level + 1` times."""
    depths = (depth * (level + 1) for depth in (1, 2, 6, 3))
    return nfnet(*depths, group_size=128, attn_layer="se", attn_ratio=0.5, act_layer="gelu", **fields)


# As DeepMind published them.
DM_NFNET: dict[str, Any] = {"gamma_in_act": True, "same_padding": True, "skipinit": True}
# Narrower bottlenecks with smaller groups.
LIGHT: dict[str, Any] = {"group_size": 64, "bottle_ratio": 0.25}
SE: dict[str, Any] = {"attn_layer": "se"}
SE_LIGHT: dict[str, Any] = {"attn_layer": "se", "attn_ratio": 0.25}
ECA: dict[str, Any] = {"attn_layer": "eca"}

VARIANTS = {
    "dm_nfnet_f0": nfnet_f(0, **DM_NFNET),
    "dm_nfnet_f1": nfnet_f(1, **DM_NFNET),
    "dm_nfnet_f2": nfnet_f(2, **DM_NFNET),
    "dm_nfnet_f3": nfnet_f(3, **DM_NFNET),
    "dm_nfnet_f4": nfnet_f(4, **DM_NFNET),
    "dm_nfnet_f5": nfnet_f(5, **DM_NFNET),
    "dm_nfnet_f6": nfnet_f(6, **DM_NFNET),
    "nfnet_f0": nfnet_f(0),
    "nfnet_f1": nfnet_f(1),
    "nfnet_f2": nfnet_f(2),
    "nfnet_f3": nfnet_f(3),
    "nfnet_f4": nfnet_f(4),
    "nfnet_f5": nfnet_f(5),
    "nfnet_f6": nfnet_f(6),
    "nfnet_f7": nfnet_f(7),
    "nfnet_l0": nfnet(1, 2, 6, 3, widen=1.5, **LIGHT, **SE_LIGHT),
    "eca_nfnet_l0": nfnet(1, 2, 6, 3, widen=1.5, **LIGHT, **ECA),
    "eca_nfnet_l1": nfnet(2, 4, 12, 6, **LIGHT, **ECA),
    "eca_nfnet_l2": nfnet(3, 6, 18, 9, **LIGHT, **ECA),
    "eca_nfnet_l3": nfnet(4, 8, 24, 12, **LIGHT, **ECA),
    "nf_regnet_b0": regnet(1, 3, 6, 6),
    "nf_regnet_b1": regnet(2, 4, 7, 7),
    "nf_regnet_b2": regnet(2, 4, 8, 8, channels=(56, 112, 232, 488)),
    "nf_regnet_b3": regnet(2, 5, 9, 9, channels=(56, 128, 248, 528)),
    "nf_regnet_b4": regnet(2, 6, 11, 11, channels=(64, 144, 288, 616)),
    "nf_regnet_b5": regnet(3, 7, 14, 14, channels=(80, 168, 336, 704)),
    "nf_resnet26": resnet(2, 2, 2, 2),
    "nf_resnet50": resnet(3, 4, 6, 3),
    "nf_resnet101": resnet(3, 4, 23, 3),
    "nf_seresnet26": resnet(2, 2, 2, 2, **SE),
    "nf_seresnet50": resnet(3, 4, 6, 3, **SE),
    "nf_seresnet101": resnet(3, 4, 23, 3, **SE),
    "nf_ecaresnet26": resnet(2, 2, 2, 2, **ECA),
    "nf_ecaresnet50": resnet(3, 4, 6, 3, **ECA),
    "nf_ecaresnet101": resnet(3, 4, 23, 3, **ECA),
    "test_nfnet": nfnet(1, 1, 1, 1, channels=(32, 64, 96, 128), widen=1.5, group_size=8, bottle_ratio=0.25, **SE_LIGHT),
}

URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"
DM_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-dnf-weights"

TIMM = Weights(crop_pct=0.9)
FULL_TEST_CROP = TIMM.but(test_crop_pct=1.0)
DM = TIMM.but(crop_mode="squash")

# The first tag of a model is its default.
WEIGHTS = {
    "dm_nfnet_f0.dm_in1k": DM.but(url=DM_URL + "/dm_nfnet_f0-604f9c3a.pth", input_size=192, test_input_size=256),
    "dm_nfnet_f1.dm_in1k": DM.but(url=DM_URL + "/dm_nfnet_f1-fc540f82.pth", test_input_size=320, crop_pct=0.91),
    "dm_nfnet_f2.dm_in1k": DM.but(
        url=DM_URL + "/dm_nfnet_f2-89875923.pth", input_size=256, test_input_size=352, crop_pct=0.92
    ),
    "dm_nfnet_f3.dm_in1k": DM.but(
        url=DM_URL + "/dm_nfnet_f3-d74ab3aa.pth", input_size=320, test_input_size=416, crop_pct=0.94
    ),
    "dm_nfnet_f4.dm_in1k": DM.but(
        url=DM_URL + "/dm_nfnet_f4-0ac5b10b.pth", input_size=384, test_input_size=512, crop_pct=0.951
    ),
    "dm_nfnet_f5.dm_in1k": DM.but(
        url=DM_URL + "/dm_nfnet_f5-ecb20ab1.pth", input_size=416, test_input_size=544, crop_pct=0.954
    ),
    "dm_nfnet_f6.dm_in1k": DM.but(
        url=DM_URL + "/dm_nfnet_f6-e0f12116.pth", input_size=448, test_input_size=576, crop_pct=0.956
    ),
    "eca_nfnet_l0.ra2_in1k": FULL_TEST_CROP.but(url=URL + "/ecanfnet_l0_ra2-e3e9ac50.pth", test_input_size=288),
    "eca_nfnet_l1.ra2_in1k": FULL_TEST_CROP.but(
        url=URL + "/ecanfnet_l1_ra2-7dce93cd.pth", input_size=256, test_input_size=320
    ),
    "eca_nfnet_l2.ra3_in1k": FULL_TEST_CROP.but(
        url=URL + "/ecanfnet_l2_ra3-da781a61.pth", input_size=320, test_input_size=384
    ),
    "eca_nfnet_l3.untrained": FULL_TEST_CROP.but(input_size=352, test_input_size=448),
    "nf_ecaresnet26.untrained": TIMM,
    "nf_ecaresnet50.untrained": TIMM,
    "nf_ecaresnet101.untrained": TIMM,
    "nf_regnet_b0.untrained": TIMM.but(input_size=192, test_input_size=256),
    "nf_regnet_b1.ra2_in1k": TIMM.but(
        url=URL + "/nf_regnet_b1_256_ra2-ad85cfef.pth", input_size=256, test_input_size=288
    ),
    "nf_regnet_b2.untrained": TIMM.but(input_size=240, test_input_size=272),
    "nf_regnet_b3.untrained": TIMM.but(input_size=288, test_input_size=320),
    "nf_regnet_b4.untrained": TIMM.but(input_size=320, test_input_size=384),
    "nf_regnet_b5.untrained": TIMM.but(input_size=384, test_input_size=456),
    "nf_resnet26.untrained": TIMM,
    "nf_resnet50.ra2_in1k": Weights(
        url=URL + "/nf_resnet50_ra2-9f236009.pth", input_size=256, test_input_size=288, crop_pct=0.94
    ),
    "nf_resnet101.untrained": TIMM,
    "nf_seresnet26.untrained": TIMM,
    "nf_seresnet50.untrained": TIMM,
    "nf_seresnet101.untrained": TIMM,
    "nfnet_f0.untrained": TIMM.but(input_size=192, test_input_size=256),
    "nfnet_f1.untrained": TIMM.but(test_input_size=320),
    "nfnet_f2.untrained": TIMM.but(input_size=256, test_input_size=352),
    "nfnet_f3.untrained": TIMM.but(input_size=320, test_input_size=416),
    "nfnet_f4.untrained": TIMM.but(input_size=384, test_input_size=512),
    "nfnet_f5.untrained": TIMM.but(input_size=416, test_input_size=544),
    "nfnet_f6.untrained": TIMM.but(input_size=448, test_input_size=576),
    "nfnet_f7.untrained": TIMM.but(input_size=480, test_input_size=608),
    "nfnet_l0.ra2_in1k": FULL_TEST_CROP.but(url=URL + "/nfnet_l0_ra2-45c6688d.pth", test_input_size=288),
    "test_nfnet.r160_in1k": Weights(input_size=160, crop_pct=0.95, mean=HALF, std=HALF),
}
