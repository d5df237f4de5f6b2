"""CSPNet and DarkNet variants, and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.records import HALF, ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class CspNetSpec(Spec):
    """One network; where several values are allowed, one for each stage.

    The stem has one convolution for each of its `stem_channels`, the first with `stem_stride`, and a max pool with
    stride 2 where `stem_pool` says so. A stage strides by 2, the first by `first_stride`, in a convolution to its
    output channels (`down_growth`) or without a change of channels, or by averaging (`avg_down`).

    `stage_type` is "csp" (arXiv:1911.11929), "cs3" (the same with one transition, as in YOLOv5) or "dark" (blocks
    alone); `block_type` is "bottleneck", "dark" or "edge". `expand_ratio`, `block_ratio` are the widths, against the
    stage's output, of the two paths together and of the blocks; `bottle_ratio` is the hidden width of a block against
    its output. `cross_linear` leaves out the activation before the paths part. `attn_layer` is "" or "se".
    `feature_levels` are those that `features_only` gives where none are named.
    """

    model_class: ClassVar[str] = "CspNet"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.01)

    choices = {
        "stage_type": ("csp", "cs3", "dark"),
        "block_type": ("bottleneck", "dark", "edge"),
        "attn_layer": ("", "se"),
    }

    stem_channels: tuple[int, ...]
    stem_kernel_size: int = 3
    stem_stride: int = 2
    stem_pool: bool = False
    layers: tuple[int, ...]
    channels: tuple[int, ...]
    first_stride: int = 2
    stage_type: str = "csp"
    block_type: str = "bottleneck"
    groups: int | tuple[int, ...] = 1
    expand_ratio: float | tuple[float, ...] = 1.0
    block_ratio: float | tuple[float, ...] = 1.0
    bottle_ratio: float | tuple[float, ...] = 1.0
    down_growth: bool = False
    avg_down: bool = False
    cross_linear: bool = False
    attn_layer: str = ""
    se_ratio: float = 1 / 16
    act_layer: str = "leaky_relu"
    norm_layer: str = "batchnorm"
    feature_levels: tuple[int, ...] | None = None

    @property
    def first_conv(self) -> str:
        return "stem.conv1.conv"


def cspresnet(*channels: int, deep: bool = True, **fields: Any) -> CspNetSpec:
    """ResNet's depths and stem (one 7x7 convolution, or three 3x3 ones)."""
    stem: dict[str, Any] = {"stem_channels": (32, 32, 64)} if deep else {"stem_channels": (64,), "stem_kernel_size": 7}
    return CspNetSpec(
        **stem, stem_pool=True, layers=(3, 3, 5, 2), channels=channels, first_stride=1, cross_linear=True, **fields
    )


def cspdarknet(**fields: Any) -> CspNetSpec:
    """CSPDarkNet53 (arXiv:1911.11929, arXiv:2004.10934)."""
    return CspNetSpec(
        stem_channels=(32,),
        stem_stride=1,
        layers=(1, 2, 8, 8, 4),
        channels=(64, 128, 256, 512, 1024),
        block_type="dark",
        expand_ratio=(2.0, 1.0, 1.0, 1.0, 1.0),
        block_ratio=(1.0, 0.5, 0.5, 0.5, 0.5),
        bottle_ratio=(0.5, 1.0, 1.0, 1.0, 1.0),
        down_growth=True,
        **fields,
    )


def darknet(*layers: int, **fields: Any) -> CspNetSpec:
    """DarkNet (YOLOv3, arXiv:1804.02767, table 1)."""
    return CspNetSpec(
        stem_channels=(32,),
        stem_stride=1,
        layers=layers,
        channels=(64, 128, 256, 512, 1024),
        stage_type="dark",
        block_type="dark",
        bottle_ratio=0.5,
        **fields,
    )


def cs3(width: float = 1.0, depth: float = 1.0, focus: bool = False, **fields: Any) -> CspNetSpec:
    """The backbone of YOLOv5; with `focus` the stem is one 6x6 convolution in place of a space-to-depth."""
    first, *channels = (make_divisible(c * width) for c in (32, 64, 128, 256, 512, 1024))
    stem, *stages = channels
    given = {"block_type": "dark", **fields}
    return CspNetSpec(
        stem_channels=(stem,) if focus else (first, stem),
        stem_kernel_size=6 if focus else 3,
        layers=tuple(int(repeats * depth) for repeats in (3, 6, 9, 3)),
        channels=tuple(stages),
        stage_type="cs3",
        block_ratio=0.5,
        act_layer="silu",
        **given,
    )


CSPRESNEXT: dict[str, Any] = {"deep": False, "groups": 32, "block_ratio": 0.5}
EDGE: dict[str, Any] = {"width": 1.25, "depth": 1.33, "block_type": "edge", "bottle_ratio": 1.5}

VARIANTS = {
    "cspresnet50": cspresnet(128, 256, 512, 1024, deep=False, expand_ratio=2.0, bottle_ratio=0.5),
    "cspresnet50d": cspresnet(128, 256, 512, 1024, expand_ratio=2.0, bottle_ratio=0.5),
    "cspresnet50w": cspresnet(256, 512, 1024, 2048, block_ratio=0.5, bottle_ratio=0.25),
    "cspresnext50": cspresnet(256, 512, 1024, 2048, **CSPRESNEXT),
    "cspresnext50_iabn": cspresnet(256, 512, 1024, 2048, **CSPRESNEXT, norm_layer="iabn"),
    "cspdarknet53": cspdarknet(),
    "cspdarknet53_iabn": cspdarknet(norm_layer="iabn"),
    "darknet17": darknet(1, 1, 1, 1, 1),
    "darknet21": darknet(1, 1, 1, 2, 2),
    # The reference leaves out the last level of this one.
    "sedarknet21": darknet(1, 1, 1, 2, 2, attn_layer="se", feature_levels=(0, 1, 2, 3, 4)),
    "darknet53": darknet(1, 2, 8, 8, 4),
    "darknetaa53": darknet(1, 2, 8, 8, 4, avg_down=True),
    "cs3darknet_s": cs3(0.5, 0.5),
    "cs3darknet_m": cs3(0.75, 0.67),
    "cs3darknet_l": cs3(),
    "cs3darknet_x": cs3(1.25, 1.33),
    "cs3darknet_focus_s": cs3(0.5, 0.5, focus=True),
    "cs3darknet_focus_m": cs3(0.75, 0.67, focus=True),
    "cs3darknet_focus_l": cs3(focus=True),
    "cs3darknet_focus_x": cs3(1.25, 1.33, focus=True),
    "cs3sedarknet_l": cs3(attn_layer="se", se_ratio=0.25),
    "cs3sedarknet_x": cs3(1.25, 1.33, attn_layer="se"),
    "cs3sedarknet_xdw": CspNetSpec(
        stem_channels=(32, 64),
        layers=(3, 6, 12, 4),
        channels=(256, 512, 1024, 2048),
        groups=(1, 1, 256, 512),
        block_ratio=0.5,
        bottle_ratio=0.5,
        attn_layer="se",
        act_layer="silu",
    ),
    "cs3edgenet_x": cs3(**EDGE),
    "cs3se_edgenet_x": cs3(**EDGE, attn_layer="se", se_ratio=0.25),
}

URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"
TPU_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-tpu-weights"

R256 = Weights(input_size=256, crop_pct=0.887)
BILINEAR = R256.but(interpolation="bilinear")
TEST_288 = R256.but(test_input_size=288, test_crop_pct=0.95)
FULL_288 = TEST_288.but(test_crop_pct=1.0)

WEIGHTS = {
    "cs3darknet_focus_l.c2ns_in1k": TEST_288.but(url=TPU_URL + "/cs3darknet_focus_l_c2ns-65ef8888.pth"),
    "cs3darknet_focus_m.c2ns_in1k": TEST_288.but(url=TPU_URL + "/cs3darknet_focus_m_c2ns-e23bed41.pth"),
    "cs3darknet_focus_s.ra4_e3600_r256_in1k": R256.but(test_input_size=320, test_crop_pct=1.0, mean=HALF, std=HALF),
    "cs3darknet_focus_x.untrained": R256,
    "cs3darknet_l.c2ns_in1k": TEST_288.but(url=TPU_URL + "/cs3darknet_l_c2ns-16220c5d.pth"),
    "cs3darknet_m.c2ns_in1k": TEST_288.but(url=TPU_URL + "/cs3darknet_m_c2ns-43f06604.pth"),
    "cs3darknet_s.untrained": R256,
    "cs3darknet_x.c2ns_in1k": Weights(
        url=TPU_URL + "/cs3darknet_x_c2ns-4e4490aa.pth",
        input_size=256,
        crop_pct=0.95,
        test_input_size=288,
        test_crop_pct=1.0,
    ),
    "cs3edgenet_x.c2_in1k": FULL_288.but(url=TPU_URL + "/cs3edgenet_x_c2-2e1610a9.pth"),
    "cs3se_edgenet_x.c2ns_in1k": Weights(
        url=TPU_URL + "/cs3se_edgenet_x_c2ns-76f8e3ac.pth",
        input_size=256,
        crop_pct=0.95,
        test_input_size=320,
        test_crop_pct=1.0,
    ),
    "cs3sedarknet_l.c2ns_in1k": TEST_288.but(url=TPU_URL + "/cs3sedarknet_l_c2ns-e8d1dc13.pth"),
    "cs3sedarknet_x.c2ns_in1k": FULL_288.but(url=TPU_URL + "/cs3sedarknet_x_c2ns-b4d0abc0.pth"),
    "cs3sedarknet_xdw.untrained": R256,
    "cspdarknet53.ra_in1k": BILINEAR.but(url=URL + "/cspdarknet53_ra_256-d05c7c21.pth"),
    "cspdarknet53_iabn.untrained": BILINEAR,
    "cspresnet50.ra_in1k": BILINEAR.but(url=URL + "/cspresnet50_ra-d3e8d487.pth"),
    "cspresnet50d.untrained": BILINEAR,
    "cspresnet50w.untrained": BILINEAR,
    "cspresnext50.ra_in1k": BILINEAR.but(url=URL + "/cspresnext50_ra_224-648b4713.pth"),
    "cspresnext50_iabn.untrained": BILINEAR,
    "darknet17.untrained": BILINEAR,
    "darknet21.untrained": BILINEAR,
    "darknet53.c2ns_in1k": FULL_288.but(url=TPU_URL + "/darknet53_256_c2ns-3aeff817.pth"),
    "darknetaa53.c2ns_in1k": FULL_288.but(url=TPU_URL + "/darknetaa53_c2ns-5c28ec8a.pth", interpolation="bilinear"),
    "sedarknet21.untrained": BILINEAR,
}
