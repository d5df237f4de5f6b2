"""ResNet variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import HALF, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class ResNetSpec(Spec):
    """One ResNet.

    `block` is "basic" or "bottleneck", or one of these per stage. `stem_type` is "" (one 7x7), "deep" (three 3x3) or
    "deep_tiered" (three 3x3, the first narrower). `channels` are a stage's widths before the block's expansion.
    `aa_layer` replaces strides by "blur" or "avg" pooling, `attn_layer` is "se" (hidden width: `se_ratio`) or "eca".
    """

    model_class: ClassVar[str] = "ResNet"
    classifier: ClassVar[str] = "fc"

    choices = {
        "stem_type": ("", "deep", "deep_tiered"),
        "aa_layer": ("", "blur", "avg"),
        "attn_layer": ("", "se", "eca"),
    }

    block: str | tuple[str, ...]
    layers: tuple[int, ...]
    channels: tuple[int, ...] = (64, 128, 256, 512)
    cardinality: int = 1
    base_width: int = 64
    stem_width: int = 64
    stem_type: str = ""
    replace_stem_pool: bool = False
    block_reduce_first: int = 1
    down_kernel_size: int = 1
    avg_down: bool = False
    act_layer: str = "relu"
    norm_layer: str = "batchnorm"
    aa_layer: str = ""
    attn_layer: str = ""
    se_ratio: float = 1 / 16
    zero_init_last: bool = True

    @property
    def first_conv(self) -> str:
        return "conv1.0" if self.stem_type else "conv1"


def basic(*layers: int, **fields: Any) -> ResNetSpec:
    return ResNetSpec(block="basic", layers=layers, **fields)


def bottleneck(*layers: int, **fields: Any) -> ResNetSpec:
    return ResNetSpec(block="bottleneck", layers=layers, **fields)


# Stems and shortcuts of the C, D and T variants (arXiv:1812.01187 and the timm names), and ResNeXt widths.
DEEP = {"stem_width": 32, "stem_type": "deep"}
DEEP_D = {**DEEP, "avg_down": True}
TIERED_D = {"stem_width": 32, "stem_type": "deep_tiered", "avg_down": True}
X32x4 = {"cardinality": 32, "base_width": 4}
X32x8 = {"cardinality": 32, "base_width": 8}
SENET154 = {"cardinality": 64, "base_width": 4, "stem_type": "deep", "down_kernel_size": 3, "block_reduce_first": 2}
RS = {**DEEP_D, "replace_stem_pool": True, "attn_layer": "se", "se_ratio": 0.25}

VARIANTS = {
    "resnet10t": basic(1, 1, 1, 1, **TIERED_D),
    "resnet14t": bottleneck(1, 1, 1, 1, **TIERED_D),
    "resnet18": basic(2, 2, 2, 2),
    "resnet18d": basic(2, 2, 2, 2, **DEEP_D),
    "resnet34": basic(3, 4, 6, 3),
    "resnet34d": basic(3, 4, 6, 3, **DEEP_D),
    "resnet26": bottleneck(2, 2, 2, 2),
    "resnet26t": bottleneck(2, 2, 2, 2, **TIERED_D),
    "resnet26d": bottleneck(2, 2, 2, 2, **DEEP_D),
    "resnet50": bottleneck(3, 4, 6, 3),
    "resnet50c": bottleneck(3, 4, 6, 3, **DEEP),
    "resnet50d": bottleneck(3, 4, 6, 3, **DEEP_D),
    "resnet50s": bottleneck(3, 4, 6, 3, stem_type="deep"),
    "resnet50t": bottleneck(3, 4, 6, 3, **TIERED_D),
    "resnet101": bottleneck(3, 4, 23, 3),
    "resnet101c": bottleneck(3, 4, 23, 3, **DEEP),
    "resnet101d": bottleneck(3, 4, 23, 3, **DEEP_D),
    "resnet101s": bottleneck(3, 4, 23, 3, stem_type="deep"),
    "resnet152": bottleneck(3, 8, 36, 3),
    "resnet152c": bottleneck(3, 8, 36, 3, **DEEP),
    "resnet152d": bottleneck(3, 8, 36, 3, **DEEP_D),
    "resnet152s": bottleneck(3, 8, 36, 3, stem_type="deep"),
    "resnet200": bottleneck(3, 24, 36, 3),
    "resnet200d": bottleneck(3, 24, 36, 3, **DEEP_D),
    "wide_resnet50_2": bottleneck(3, 4, 6, 3, base_width=128),
    "wide_resnet101_2": bottleneck(3, 4, 23, 3, base_width=128),
    "resnet50_gn": bottleneck(3, 4, 6, 3, norm_layer="groupnorm"),
    "resnext50_32x4d": bottleneck(3, 4, 6, 3, **X32x4),
    "resnext50d_32x4d": bottleneck(3, 4, 6, 3, **X32x4, **DEEP_D),
    "resnext101_32x4d": bottleneck(3, 4, 23, 3, cardinality=32, base_width=4),
    "resnext101_32x8d": bottleneck(3, 4, 23, 3, cardinality=32, base_width=8),
    "resnext101_32x16d": bottleneck(3, 4, 23, 3, cardinality=32, base_width=16),
    "resnext101_32x32d": bottleneck(3, 4, 23, 3, cardinality=32, base_width=32),
    "resnext101_64x4d": bottleneck(3, 4, 23, 3, cardinality=64, base_width=4),
    "ecaresnet26t": bottleneck(2, 2, 2, 2, **TIERED_D, attn_layer="eca"),
    "ecaresnet50d": bottleneck(3, 4, 6, 3, **DEEP_D, attn_layer="eca"),
    "ecaresnet50d_pruned": bottleneck(3, 4, 6, 3, **DEEP_D, attn_layer="eca", pruned=True),
    "ecaresnet50t": bottleneck(3, 4, 6, 3, **TIERED_D, attn_layer="eca"),
    "ecaresnetlight": bottleneck(1, 1, 11, 3, stem_width=32, avg_down=True, attn_layer="eca"),
    "ecaresnet101d": bottleneck(3, 4, 23, 3, **DEEP_D, attn_layer="eca"),
    "ecaresnet101d_pruned": bottleneck(3, 4, 23, 3, **DEEP_D, attn_layer="eca", pruned=True),
    "ecaresnet200d": bottleneck(3, 24, 36, 3, **DEEP_D, attn_layer="eca"),
    "ecaresnet269d": bottleneck(3, 30, 48, 8, **DEEP_D, attn_layer="eca"),
    "ecaresnext26t_32x4d": bottleneck(2, 2, 2, 2, **X32x4, **TIERED_D, attn_layer="eca"),
    "ecaresnext50t_32x4d": bottleneck(3, 4, 6, 3, **X32x4, **TIERED_D, attn_layer="eca"),
    "seresnet18": basic(2, 2, 2, 2, attn_layer="se"),
    "seresnet34": basic(3, 4, 6, 3, attn_layer="se"),
    "seresnet50": bottleneck(3, 4, 6, 3, attn_layer="se"),
    "seresnet50t": bottleneck(3, 4, 6, 3, **TIERED_D, attn_layer="se"),
    "seresnet101": bottleneck(3, 4, 23, 3, attn_layer="se"),
    "seresnet152": bottleneck(3, 8, 36, 3, attn_layer="se"),
    "seresnet152d": bottleneck(3, 8, 36, 3, **DEEP_D, attn_layer="se"),
    "seresnet200d": bottleneck(3, 24, 36, 3, **DEEP_D, attn_layer="se"),
    "seresnet269d": bottleneck(3, 30, 48, 8, **DEEP_D, attn_layer="se"),
    "seresnext26d_32x4d": bottleneck(2, 2, 2, 2, **X32x4, **DEEP_D, attn_layer="se"),
    "seresnext26t_32x4d": bottleneck(2, 2, 2, 2, **X32x4, **TIERED_D, attn_layer="se"),
    "seresnext50_32x4d": bottleneck(3, 4, 6, 3, **X32x4, attn_layer="se"),
    "seresnext101_32x4d": bottleneck(3, 4, 23, 3, **X32x4, attn_layer="se"),
    "seresnext101_32x8d": bottleneck(3, 4, 23, 3, **X32x8, attn_layer="se"),
    "seresnext101d_32x8d": bottleneck(3, 4, 23, 3, **X32x8, **DEEP_D, attn_layer="se"),
    "seresnext101_64x4d": bottleneck(3, 4, 23, 3, cardinality=64, base_width=4, attn_layer="se"),
    "senet154": bottleneck(3, 8, 36, 3, **SENET154, attn_layer="se"),
    "resnetblur18": basic(2, 2, 2, 2, aa_layer="blur"),
    "resnetblur50": bottleneck(3, 4, 6, 3, aa_layer="blur"),
    "resnetblur50d": bottleneck(3, 4, 6, 3, **DEEP_D, aa_layer="blur"),
    "resnetblur101d": bottleneck(3, 4, 23, 3, **DEEP_D, aa_layer="blur"),
    "resnetaa34d": basic(3, 4, 6, 3, **DEEP_D, aa_layer="avg"),
    "resnetaa50": bottleneck(3, 4, 6, 3, aa_layer="avg"),
    "resnetaa50d": bottleneck(3, 4, 6, 3, **DEEP_D, aa_layer="avg"),
    "resnetaa101d": bottleneck(3, 4, 23, 3, **DEEP_D, aa_layer="avg"),
    "seresnetaa50d": bottleneck(3, 4, 6, 3, **DEEP_D, aa_layer="avg", attn_layer="se"),
    "seresnextaa101d_32x8d": bottleneck(3, 4, 23, 3, **X32x8, **DEEP_D, aa_layer="avg", attn_layer="se"),
    "seresnextaa201d_32x8d": bottleneck(
        3, 24, 36, 4, **X32x8, stem_type="deep", avg_down=True, aa_layer="avg", attn_layer="se"
    ),
    "resnetrs50": bottleneck(3, 4, 6, 3, **RS),
    "resnetrs101": bottleneck(3, 4, 23, 3, **RS),
    "resnetrs152": bottleneck(3, 8, 36, 3, **RS),
    "resnetrs200": bottleneck(3, 24, 36, 3, **RS),
    "resnetrs270": bottleneck(4, 29, 53, 4, **RS),
    "resnetrs350": bottleneck(4, 36, 72, 4, **RS),
    "resnetrs420": bottleneck(4, 44, 87, 4, **RS),
    "test_resnet": ResNetSpec(
        block=("basic", "basic", "bottleneck", "basic"),
        layers=(1, 1, 1, 1),
        channels=(32, 48, 48, 96),
        stem_width=16,
        stem_type="deep",
        avg_down=True,
    ),
}

RSB_URL = "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-rsb-weights"
GLUON_URL = "https://github.com/rwightman/pytorch-pretrained-gluonresnet/releases/download/v0.1"
TIMM_URL = "https://github.com/rwightman/pytorch-image-models/releases/download"
HF_TIMM_URL = "https://github.com/huggingface/pytorch-image-models/releases/download"
TV_URL = "https://download.pytorch.org/models"
SEMI_URL = "https://dl.fbaipublicfiles.com/semiweaksupervision/model_files"

TIMM_HOME = "https://github.com/huggingface/pytorch-image-models"
RSB = Weights(crop_pct=0.95, test_input_size=288, test_crop_pct=1.0, origin_url=TIMM_HOME, paper_ids="arXiv:2110.00476")
RSB_A3 = Weights(
    input_size=160,
    crop_pct=0.95,
    test_input_size=224,
    test_crop_pct=0.95,
    origin_url=TIMM_HOME,
    paper_ids="arXiv:2110.00476",
)
TIMM = Weights(test_input_size=288, test_crop_pct=0.95, origin_url=TIMM_HOME)
TIMM_95 = Weights(crop_pct=0.95, test_input_size=288, test_crop_pct=1.0, origin_url=TIMM_HOME)
TIMM_256 = Weights(input_size=256, crop_pct=0.95, test_input_size=320, test_crop_pct=1.0, origin_url=TIMM_HOME)
GLUON = Weights(origin_url="https://cv.gluon.ai/model_zoo/classification.html")
SEMI = Weights(
    interpolation="bilinear",
    license="cc-by-nc-4.0",
    origin_url="https://github.com/facebookresearch/semi-supervised-ImageNet1K-models",
)
WSL = Weights(
    interpolation="bilinear", license="cc-by-nc-4.0", origin_url="https://github.com/facebookresearch/WSL-Images"
)
TV = Weights(interpolation="bilinear", license="bsd-3-clause", origin_url="https://github.com/pytorch/vision")
TV2 = Weights(
    input_size=176,
    interpolation="bilinear",
    license="bsd-3-clause",
    origin_url="https://github.com/pytorch/vision",
    test_input_size=224,
    test_crop_pct=0.965,
)
MIIL = Weights(test_input_size=288, test_crop_pct=0.95)

# The first tag of a model is its default.
WEIGHTS = {
    "ecaresnet26t.ra2_in1k": TIMM.but(
        url=TIMM_URL + "/v0.1-weights/ecaresnet26t_ra2-46609757.pth", input_size=256, test_input_size=320
    ),
    "ecaresnet50d.miil_in1k": MIIL.but(url=TIMM_URL + "/v0.1-tresnet/ecaresnet50d-93c81e3b.pth"),
    "ecaresnet50d_pruned.miil_in1k": MIIL.but(url=TIMM_URL + "/v0.1-tresnet/ecaresnet50d_p-e4fa23c2.pth"),
    "ecaresnet50t.ra2_in1k": MIIL.but(
        url=TIMM_URL + "/v0.1-weights/ecaresnet50t_ra2-f7ac63c4.pth", input_size=256, test_input_size=320
    ),
    "ecaresnet50t.a1_in1k": RSB.but(url=RSB_URL + "/ecaresnet50t_a1_0-99bd76a8.pth"),
    "ecaresnet50t.a2_in1k": RSB.but(url=RSB_URL + "/ecaresnet50t_a2_0-b1c7b745.pth"),
    "ecaresnet50t.a3_in1k": RSB_A3.but(url=RSB_URL + "/ecaresnet50t_a3_0-8cc311f1.pth"),
    "ecaresnet101d.miil_in1k": MIIL.but(url=TIMM_URL + "/v0.1-tresnet/ecaresnet101d-153dad65.pth"),
    "ecaresnet101d_pruned.miil_in1k": MIIL.but(url=TIMM_URL + "/v0.1-tresnet/ecaresnet101d_p-9e74cb91.pth"),
    "ecaresnet200d.untrained": TIMM.but(input_size=256, crop_pct=0.95),
    "ecaresnet269d.ra2_in1k": TIMM_95.but(
        url=TIMM_URL + "/v0.1-weights/ecaresnet269d_320_ra2-7baa55cb.pth", input_size=320, test_input_size=352
    ),
    "ecaresnetlight.miil_in1k": MIIL.but(url=TIMM_URL + "/v0.1-tresnet/ecaresnetlight-75a9c627.pth"),
    "ecaresnext26t_32x4d.untrained": Weights(),
    "ecaresnext50t_32x4d.untrained": Weights(),
    "resnet10t.c3_in1k": TIMM.but(
        url=TIMM_URL + "/v0.1-rsb-weights/resnet10t_176_c3-f3215ab1.pth", input_size=176, test_input_size=224
    ),
    "resnet14t.c3_in1k": TIMM.but(
        url=TIMM_URL + "/v0.1-rsb-weights/resnet14t_176_c3-c4ed2c37.pth", input_size=176, test_input_size=224
    ),
    "resnet18.a1_in1k": RSB.but(url=RSB_URL + "/resnet18_a1_0-d63eafa0.pth"),
    "resnet18.a2_in1k": RSB.but(url=RSB_URL + "/resnet18_a2_0-b61bd467.pth"),
    "resnet18.a3_in1k": RSB_A3.but(url=RSB_URL + "/resnet18_a3_0-40c531c8.pth"),
    "resnet18.tv_in1k": TV.but(url=TV_URL + "/resnet18-f37072fd.pth"),
    "resnet18.fb_ssl_yfcc100m_ft_in1k": SEMI.but(url=SEMI_URL + "/semi_supervised_resnet18-d92f0530.pth"),
    "resnet18.fb_swsl_ig1b_ft_in1k": SEMI.but(url=SEMI_URL + "/semi_weakly_supervised_resnet18-118f1556.pth"),
    "resnet18.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet18_v1b-0757602b.pth"),
    "resnet18d.ra2_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/resnet18d_ra2-48a79e06.pth"),
    "resnet18d.ra4_e3600_r224_in1k": RSB.but(crop_pct=0.9, mean=HALF, std=HALF),
    "resnet26.bt_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/resnet26-9aa10e23.pth"),
    "resnet26d.bt_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/resnet26d-69e92c46.pth"),
    "resnet26t.ra2_in1k": TIMM_256.but(
        url=TIMM_URL + "/v0.1-attn-weights/resnet26t_256_ra2-6f6fa748.pth", crop_pct=0.94
    ),
    "resnet34.a1_in1k": RSB.but(url=RSB_URL + "/resnet34_a1_0-46f8f793.pth"),
    "resnet34.a2_in1k": RSB.but(url=RSB_URL + "/resnet34_a2_0-82d47d71.pth"),
    "resnet34.a3_in1k": RSB_A3.but(url=RSB_URL + "/resnet34_a3_0-a20cabb6.pth"),
    "resnet34.bt_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/resnet34-43635321.pth"),
    "resnet34.ra4_e3600_r224_in1k": RSB.but(crop_pct=0.9, mean=HALF, std=HALF),
    "resnet34.tv_in1k": TV.but(url=TV_URL + "/resnet34-b627a593.pth"),
    "resnet34.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet34_v1b-c6d82d59.pth"),
    "resnet34d.ra2_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/resnet34d_ra2-f8dcfcaf.pth"),
    "resnet50.a1_in1k": RSB.but(url=TIMM_URL + "/v0.1-rsb-weights/resnet50_a1_0-14fe96d1.pth"),
    "resnet50.a1h_in1k": RSB.but(
        url=RSB_URL + "/resnet50_a1h2_176-001a1197.pth", input_size=176, test_input_size=224, crop_pct=0.9
    ),
    "resnet50.a2_in1k": RSB.but(url=RSB_URL + "/resnet50_a2_0-a2746f79.pth"),
    "resnet50.a3_in1k": RSB_A3.but(url=RSB_URL + "/resnet50_a3_0-59cae1ef.pth"),
    "resnet50.b1k_in1k": RSB.but(url=RSB_URL + "/resnet50_b1k-532a802a.pth"),
    "resnet50.b2k_in1k": RSB.but(url=RSB_URL + "/resnet50_b2k-1ba180c1.pth"),
    "resnet50.c1_in1k": RSB.but(url=RSB_URL + "/resnet50_c1-5ba5e060.pth"),
    "resnet50.c2_in1k": RSB.but(url=RSB_URL + "/resnet50_c2-d01e05b2.pth"),
    "resnet50.d_in1k": RSB.but(url=RSB_URL + "/resnet50_d-f39db8af.pth"),
    "resnet50.ram_in1k": TIMM.but(url=HF_TIMM_URL + "/v0.1-weights/resnet50_ram-a26f946b.pth"),
    "resnet50.am_in1k": Weights(url=HF_TIMM_URL + "/v0.1-weights/resnet50_am-6c502b37.pth"),
    "resnet50.ra_in1k": TIMM.but(url=HF_TIMM_URL + "/v0.1-weights/resnet50_ra-85ebb6e5.pth"),
    "resnet50.bt_in1k": TIMM.but(url=HF_TIMM_URL + "/v0.1-weights/rw_resnet50-86acaeed.pth"),
    "resnet50.tv_in1k": TV.but(url=TV_URL + "/resnet50-0676ba61.pth"),
    "resnet50.tv2_in1k": TV2.but(url=TV_URL + "/resnet50-11ad3fa6.pth"),
    "resnet50.bamboo": Weights(
        num_classes=0,
        crop_pct=1.0,
        license=None,
        origin_url="https://github.com/ZhangYuanhan-AI/Bamboo",
        paper_ids="arXiv:2203.07845",
    ),
    "resnet50.fb_ssl_yfcc100m_ft_in1k": SEMI.but(url=SEMI_URL + "/semi_supervised_resnet50-08389792.pth"),
    "resnet50.fb_swsl_ig1b_ft_in1k": SEMI.but(url=SEMI_URL + "/semi_weakly_supervised_resnet50-16a12f1b.pth"),
    "resnet50.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet50_v1b-0ebe02e2.pth"),
    "resnet50_gn.a1h_in1k": TIMM.but(url=TIMM_URL + "/v0.1-rsb-weights/resnet50_gn_a1h2-8fe6c4d0.pth", crop_pct=0.94),
    "resnet50c.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet50_v1c-48092f55.pth"),
    "resnet50d.ra2_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/resnet50d_ra2-464e36ba.pth"),
    "resnet50d.ra4_e3600_r224_in1k": RSB.but(mean=HALF, std=HALF),
    "resnet50d.a1_in1k": RSB.but(url=RSB_URL + "/resnet50d_a1_0-e20cff14.pth"),
    "resnet50d.a2_in1k": RSB.but(url=RSB_URL + "/resnet50d_a2_0-a3adc64d.pth"),
    "resnet50d.a3_in1k": RSB_A3.but(url=RSB_URL + "/resnet50d_a3_0-403fdfad.pth"),
    "resnet50d.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet50_v1d-818a1b1b.pth"),
    "resnet50s.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet50_v1s-1762acc0.pth"),
    "resnet50t.untrained": TIMM,
    "resnet101.a1h_in1k": RSB.but(url=TIMM_URL + "/v0.1-rsb-weights/resnet101_a1h-36d3f2aa.pth"),
    "resnet101.a1_in1k": RSB.but(url=RSB_URL + "/resnet101_a1_0-cdcb52a9.pth"),
    "resnet101.a2_in1k": RSB.but(url=RSB_URL + "/resnet101_a2_0-6edb36c7.pth"),
    "resnet101.a3_in1k": RSB_A3.but(url=RSB_URL + "/resnet101_a3_0-1db14157.pth"),
    "resnet101.tv_in1k": TV.but(url=TV_URL + "/resnet101-63fe2227.pth"),
    "resnet101.tv2_in1k": TV2.but(url=TV_URL + "/resnet101-cd907fc2.pth"),
    "resnet101.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet101_v1b-3b017079.pth"),
    "resnet101c.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet101_v1c-1f26822a.pth"),
    "resnet101d.ra2_in1k": TIMM_256.but(url=TIMM_URL + "/v0.1-weights/resnet101d_ra2-2803ffab.pth"),
    "resnet101d.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet101_v1d-0f9c8644.pth"),
    "resnet101s.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet101_v1s-60fe0cc1.pth"),
    "resnet152.a1h_in1k": RSB.but(url=TIMM_URL + "/v0.1-rsb-weights/resnet152_a1h-dc400468.pth"),
    "resnet152.a1_in1k": RSB.but(url=RSB_URL + "/resnet152_a1_0-2eee8a7a.pth"),
    "resnet152.a2_in1k": RSB.but(url=RSB_URL + "/resnet152_a2_0-b4c6978f.pth"),
    "resnet152.a3_in1k": RSB_A3.but(url=RSB_URL + "/resnet152_a3_0-134d4688.pth"),
    "resnet152.tv_in1k": TV.but(url=TV_URL + "/resnet152-394f9c45.pth"),
    "resnet152.tv2_in1k": TV2.but(url=TV_URL + "/resnet152-f82ba261.pth"),
    "resnet152.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet152_v1b-c1edb0dd.pth"),
    "resnet152c.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet152_v1c-a3bb0b98.pth"),
    "resnet152d.ra2_in1k": TIMM_256.but(url=TIMM_URL + "/v0.1-weights/resnet152d_ra2-5cac0439.pth"),
    "resnet152d.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet152_v1d-bd354e12.pth"),
    "resnet152s.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnet152_v1s-dcc41b81.pth"),
    "resnet200.untrained": TIMM,
    "resnet200d.ra2_in1k": TIMM_256.but(url=TIMM_URL + "/v0.1-weights/resnet200d_ra2-bdba9bf9.pth"),
    "resnetaa34d.untrained": TIMM,
    "resnetaa50.a1h_in1k": RSB.but(url=TIMM_URL + "/v0.1-rsb-weights/resnetaa50_a1h-4cf422b3.pth"),
    "resnetaa50d.sw_in12k_ft_in1k": TIMM_95,
    "resnetaa50d.sw_in12k": TIMM_95.but(num_classes=11821),
    "resnetaa50d.d_in12k": TIMM_95.but(num_classes=11821),
    "resnetaa101d.sw_in12k_ft_in1k": TIMM_95,
    "resnetaa101d.sw_in12k": TIMM_95.but(num_classes=11821),
    "resnetblur18.untrained": TIMM,
    "resnetblur50.bt_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/resnetblur50-84f4748f.pth"),
    "resnetblur50d.untrained": TIMM,
    "resnetblur101d.untrained": TIMM,
    "resnetrs50.tf_in1k": Weights(
        url=TIMM_URL + "/v0.1-rs-weights/resnetrs50_ema-6b53758b.pth",
        input_size=160,
        test_input_size=224,
        crop_pct=0.91,
    ),
    "resnetrs101.tf_in1k": Weights(
        url=TIMM_URL + "/v0.1-rs-weights/resnetrs101_i192_ema-1509bbf6.pth",
        input_size=192,
        test_input_size=288,
        crop_pct=0.94,
    ),
    "resnetrs152.tf_in1k": Weights(
        url=TIMM_URL + "/v0.1-rs-weights/resnetrs152_i256_ema-a9aff7f9.pth",
        input_size=256,
        test_input_size=320,
        crop_pct=1.0,
    ),
    "resnetrs200.tf_in1k": Weights(
        url=TIMM_URL + "/v0.1-tpu-weights/resnetrs200_c-6b698b88.pth", input_size=256, test_input_size=320, crop_pct=1.0
    ),
    "resnetrs270.tf_in1k": Weights(
        url=TIMM_URL + "/v0.1-rs-weights/resnetrs270_ema-b40e674c.pth",
        input_size=256,
        test_input_size=352,
        crop_pct=1.0,
    ),
    "resnetrs350.tf_in1k": Weights(
        url=TIMM_URL + "/v0.1-rs-weights/resnetrs350_i256_ema-5a1aa8f1.pth",
        input_size=288,
        test_input_size=384,
        crop_pct=1.0,
    ),
    "resnetrs420.tf_in1k": Weights(
        url=TIMM_URL + "/v0.1-rs-weights/resnetrs420_ema-972dee69.pth",
        input_size=320,
        test_input_size=416,
        crop_pct=1.0,
    ),
    "resnext50_32x4d.a1h_in1k": RSB.but(url=TIMM_URL + "/v0.1-rsb-weights/resnext50_32x4d_a1h-0146ab0a.pth"),
    "resnext50_32x4d.a1_in1k": RSB.but(url=RSB_URL + "/resnext50_32x4d_a1_0-b5a91a1d.pth"),
    "resnext50_32x4d.a2_in1k": RSB.but(url=RSB_URL + "/resnext50_32x4d_a2_0-efc76add.pth"),
    "resnext50_32x4d.a3_in1k": RSB_A3.but(url=RSB_URL + "/resnext50_32x4d_a3_0-3e450271.pth"),
    "resnext50_32x4d.ra_in1k": TIMM.but(url=HF_TIMM_URL + "/v0.1-weights/resnext50_32x4d_ra-d733960d.pth"),
    "resnext50_32x4d.tv_in1k": TV.but(url=TV_URL + "/resnext50_32x4d-7cdf4587.pth"),
    "resnext50_32x4d.tv2_in1k": TV2.but(url=TV_URL + "/resnext50_32x4d-1a0047aa.pth"),
    "resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k": SEMI.but(url=SEMI_URL + "/semi_supervised_resnext50_32x4-ddb3e555.pth"),
    "resnext50_32x4d.fb_swsl_ig1b_ft_in1k": SEMI.but(
        url=SEMI_URL + "/semi_weakly_supervised_resnext50_32x4-72679e44.pth"
    ),
    "resnext50_32x4d.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnext50_32x4d-e6a097c1.pth"),
    "resnext50d_32x4d.bt_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/resnext50d_32x4d-103e99f8.pth"),
    "resnext101_32x4d.fb_ssl_yfcc100m_ft_in1k": SEMI.but(
        url=SEMI_URL + "/semi_supervised_resnext101_32x4-dc43570a.pth"
    ),
    "resnext101_32x4d.untrained": TIMM,
    "resnext101_32x4d.fb_swsl_ig1b_ft_in1k": SEMI.but(
        url=SEMI_URL + "/semi_weakly_supervised_resnext101_32x4-3f87e46b.pth"
    ),
    "resnext101_32x4d.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnext101_32x4d-b253c8c4.pth"),
    "resnext101_32x8d.tv_in1k": TV.but(url=TV_URL + "/resnext101_32x8d-8ba56ff5.pth"),
    "resnext101_32x8d.tv2_in1k": TV2.but(url=TV_URL + "/resnext101_32x8d-110c445d.pth"),
    "resnext101_32x8d.fb_wsl_ig1b_ft_in1k": WSL.but(url=TV_URL + "/ig_resnext101_32x8-c38310e5.pth"),
    "resnext101_32x8d.fb_ssl_yfcc100m_ft_in1k": SEMI.but(
        url=SEMI_URL + "/semi_supervised_resnext101_32x8-2cfe2f8b.pth"
    ),
    "resnext101_32x8d.fb_swsl_ig1b_ft_in1k": SEMI.but(
        url=SEMI_URL + "/semi_weakly_supervised_resnext101_32x8-b4712904.pth"
    ),
    "resnext101_32x16d.fb_wsl_ig1b_ft_in1k": WSL.but(url=TV_URL + "/ig_resnext101_32x16-c6f796b0.pth"),
    "resnext101_32x16d.fb_ssl_yfcc100m_ft_in1k": SEMI.but(
        url=SEMI_URL + "/semi_supervised_resnext101_32x16-15fffa57.pth"
    ),
    "resnext101_32x16d.fb_swsl_ig1b_ft_in1k": SEMI.but(
        url=SEMI_URL + "/semi_weakly_supervised_resnext101_32x16-f3559a9c.pth"
    ),
    "resnext101_32x32d.fb_wsl_ig1b_ft_in1k": WSL.but(url=TV_URL + "/ig_resnext101_32x32-e4b90b00.pth"),
    "resnext101_64x4d.c1_in1k": RSB.but(url=TIMM_URL + "/v0.1-tpu-weights/resnext101_64x4d_c-0d0e0cc0.pth"),
    "resnext101_64x4d.tv_in1k": TV.but(url=TV_URL + "/resnext101_64x4d-173b62eb.pth"),
    "resnext101_64x4d.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_resnext101_64x4d-f9a8e184.pth"),
    "senet154.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_senet154-70a1a3c0.pth"),
    "seresnet18.untrained": TIMM,
    "seresnet34.untrained": TIMM,
    "seresnet50.a1_in1k": RSB.but(url=RSB_URL + "/seresnet50_a1_0-ffa00869.pth"),
    "seresnet50.a2_in1k": RSB.but(url=RSB_URL + "/seresnet50_a2_0-850de0d9.pth"),
    "seresnet50.a3_in1k": RSB_A3.but(url=RSB_URL + "/seresnet50_a3_0-317ecd56.pth"),
    "seresnet50.ra2_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/seresnet50_ra_224-8efdb4bb.pth"),
    "seresnet50t.untrained": TIMM,
    "seresnet101.untrained": TIMM,
    "seresnet152.untrained": TIMM,
    "seresnet152d.ra2_in1k": TIMM_256.but(url=TIMM_URL + "/v0.1-weights/seresnet152d_ra2-04464dd2.pth"),
    "seresnet200d.untrained": TIMM.but(input_size=256),
    "seresnet269d.untrained": TIMM.but(input_size=256),
    "seresnetaa50d.untrained": TIMM,
    "seresnext26d_32x4d.bt_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/seresnext26d_32x4d-80fa48a3.pth"),
    "seresnext26t_32x4d.bt_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/seresnext26tn_32x4d-569cb627.pth"),
    "seresnext50_32x4d.racm_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/seresnext50_32x4d_racm-a304a460.pth"),
    "seresnext50_32x4d.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_seresnext50_32x4d-90cf2d6e.pth"),
    "seresnext101_32x4d.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_seresnext101_32x4d-cf52900d.pth"),
    "seresnext101_32x4d.untrained": TIMM,
    "seresnext101_32x8d.ah_in1k": RSB.but(url=TIMM_URL + "/v0.1-tpu-weights/seresnext101_32x8d_ah-e6bc4c0a.pth"),
    "seresnext101_64x4d.gluon_in1k": GLUON.but(url=GLUON_URL + "/gluon_seresnext101_64x4d-f9926f93.pth"),
    "seresnext101d_32x8d.ah_in1k": RSB.but(url=TIMM_URL + "/v0.1-tpu-weights/seresnext101d_32x8d_ah-191d7b94.pth"),
    "seresnextaa101d_32x8d.sw_in12k_ft_in1k_288": TIMM_256.but(input_size=288),
    "seresnextaa101d_32x8d.sw_in12k_ft_in1k": TIMM.but(test_crop_pct=1.0),
    "seresnextaa101d_32x8d.sw_in12k": TIMM_95.but(num_classes=11821),
    "seresnextaa101d_32x8d.ah_in1k": RSB.but(url=TIMM_URL + "/v0.1-tpu-weights/seresnextaa101d_32x8d_ah-83c8ae12.pth"),
    "seresnextaa201d_32x8d.sw_in12k_ft_in1k_384": Weights(input_size=384, crop_pct=1.0),
    "seresnextaa201d_32x8d.sw_in12k": TIMM_95.but(
        input_size=320, num_classes=11821, test_input_size=384, origin_url=""
    ),
    "test_resnet.r160_in1k": Weights(input_size=160, interpolation="bilinear", crop_pct=0.95, mean=HALF, std=HALF),
    "wide_resnet50_2.racm_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/wide_resnet50_racm-8234f177.pth"),
    "wide_resnet50_2.tv_in1k": TV.but(url=TV_URL + "/wide_resnet50_2-95faca4d.pth"),
    "wide_resnet50_2.tv2_in1k": TV2.but(url=TV_URL + "/wide_resnet50_2-9ba9bcbe.pth"),
    "wide_resnet101_2.tv_in1k": TV.but(url=TV_URL + "/wide_resnet101_2-32ee1156.pth"),
    "wide_resnet101_2.tv2_in1k": TV2.but(url=TV_URL + "/wide_resnet101_2-d733dc28.pth"),
}
