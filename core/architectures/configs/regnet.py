"""RegNet variants and their published weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import log
from typing import Any, ClassVar, NamedTuple

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.records import ClassifierInit, Spec, Weights
from zoo.core.errors import UsageError


class RegStage(NamedTuple):
    """One stage: its number of blocks, the channels between them and within, the channels of a convolution group."""

    depth: int
    channels: int
    width: int
    group_size: int


@dataclass(frozen=True, kw_only=True)
class RegNetSpec(Spec):
    """One RegNet: the parameters from which the width of every block follows (arXiv:2003.13678, section 3.3).

    `depth` is the number of blocks, `w0` and `wa` are the offset and the slope of their widths, `wm` the ratio of the
    widths of two stages. `group_size` is the channels of a convolution group, `bottle_ratio` the width within a block
    against that between blocks (the inverse of the paper's b), `se_ratio` that of squeeze-and-excitation against the
    block's input. `group_min_ratio` rounds widths to whole groups as torchvision does: not below this share of them.
    `downsample` projects a shortcut by "conv1x1" or "avg" (2x2 average, then 1x1); "" leaves the shortcut out there.
    `linear_out` has no activation after the sum, `preact` is the V variant, `num_features` the width of a last 1x1
    convolution (0: none). `norm_group_size` is the channels of a group of a norm that has groups.
    """

    model_class: ClassVar[str] = "RegNet"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.01)

    choices = {"downsample": ("conv1x1", "avg", "")}

    depth: int
    w0: int
    wa: float
    wm: float
    group_size: int
    bottle_ratio: float = 1.0
    se_ratio: float = 0.0
    group_min_ratio: float = 0.0
    stem_width: int = 32
    downsample: str = "conv1x1"
    linear_out: bool = False
    preact: bool = False
    num_features: int = 0
    act_layer: str = "relu"
    norm_layer: str = "batchnorm"
    norm_group_size: int = 0

    @property
    def first_conv(self) -> str:
        return "stem" if self.preact else "stem.conv"

    def block_widths(self) -> list[int]:
        """Width of each block: on a line, brought to a power of `wm` times `w0`, then to a multiple of 8."""
        if self.wa < 0 or self.w0 <= 0 or self.w0 % 8 or self.wm <= 1:
            raise UsageError(
                f"RegNet needs wa >= 0, wm > 1 and w0 a multiple of 8, found {self.wa}, {self.wm} and {self.w0}."
            )
        steps = (round(log(1 + self.wa * i / self.w0) / log(self.wm)) for i in range(self.depth))
        return [8 * round(self.w0 * self.wm**step / 8) for step in steps]

    def stages(self) -> list[RegStage]:
        """Blocks of one width are a stage; widths are adjusted to whole groups."""
        stages = []
        for channels, depth in sorted(Counter(self.block_widths()).items()):
            width = int(channels * self.bottle_ratio)
            group_size = min(self.group_size, width)
            if self.group_min_ratio:
                width = make_divisible(width, group_size, self.group_min_ratio)
            else:
                width = round(width / group_size) * group_size
            stages.append(RegStage(depth, int(width / self.bottle_ratio), width, group_size))
        return stages


def x(depth: int, w0: int, wa: float, wm: float, group_size: int, **fields: Any) -> RegNetSpec:
    return RegNetSpec(depth=depth, w0=w0, wa=wa, wm=wm, group_size=group_size, **fields)


def y(depth: int, w0: int, wa: float, wm: float, group_size: int, **fields: Any) -> RegNetSpec:
    """X with squeeze-and-excitation."""
    return x(depth, w0, wa, wm, group_size, se_ratio=0.25, **fields)


def z(depth: int, w0: int, wa: float, wm: float, group_size: int, num_features: int = 0) -> RegNetSpec:
    """Inverted bottlenecks (arXiv:2103.06877)."""
    options: dict[str, Any] = {"bottle_ratio": 4.0, "downsample": "", "linear_out": True, "act_layer": "silu"}
    return y(depth, w0, wa, wm, group_size, num_features=num_features, **options)


V: dict[str, Any] = {"preact": True, "act_layer": "silu"}
SGN: dict[str, Any] = {"act_layer": "silu", "norm_layer": "groupnorm", "norm_group_size": 16}

# The number in a name is the multiply-accumulates of one image, in hundred millions.
VARIANTS = {
    "regnetx_002": x(13, 24, 36.44, 2.49, 8),
    "regnetx_004": x(22, 24, 24.48, 2.54, 16),
    "regnetx_004_tv": x(22, 24, 24.48, 2.54, 16, group_min_ratio=0.9),
    "regnetx_006": x(16, 48, 36.97, 2.24, 24),
    "regnetx_008": x(16, 56, 35.73, 2.28, 16),
    "regnetx_016": x(18, 80, 34.01, 2.25, 24),
    "regnetx_032": x(25, 88, 26.31, 2.25, 48),
    "regnetx_040": x(23, 96, 38.65, 2.43, 40),
    "regnetx_064": x(17, 184, 60.83, 2.07, 56),
    "regnetx_080": x(23, 80, 49.56, 2.88, 120),
    "regnetx_120": x(19, 168, 73.36, 2.37, 112),
    "regnetx_160": x(22, 216, 55.59, 2.1, 128),
    "regnetx_320": x(23, 320, 69.86, 2.0, 168),
    "regnety_002": y(13, 24, 36.44, 2.49, 8),
    "regnety_004": y(16, 48, 27.89, 2.09, 8),
    "regnety_006": y(15, 48, 32.54, 2.32, 16),
    "regnety_008": y(14, 56, 38.84, 2.4, 16),
    "regnety_008_tv": y(14, 56, 38.84, 2.4, 16, group_min_ratio=0.9),
    "regnety_016": y(27, 48, 20.71, 2.65, 24),
    "regnety_032": y(21, 80, 42.63, 2.66, 24),
    "regnety_040": y(22, 96, 31.41, 2.24, 64),
    "regnety_064": y(25, 112, 33.22, 2.27, 72),
    "regnety_080": y(17, 192, 76.82, 2.19, 56),
    "regnety_080_tv": y(17, 192, 76.82, 2.19, 56, group_min_ratio=0.9),
    "regnety_120": y(19, 168, 73.36, 2.37, 112),
    "regnety_160": y(18, 200, 106.23, 2.48, 112),
    "regnety_320": y(20, 232, 115.89, 2.53, 232),
    "regnety_640": y(20, 352, 147.48, 2.4, 328),
    "regnety_1280": y(27, 456, 160.83, 2.52, 264),
    "regnety_2560": y(27, 640, 230.83, 2.53, 373),
    "regnety_040_sgn": y(22, 96, 31.41, 2.24, 64, **SGN),
    "regnetv_040": y(22, 96, 31.41, 2.24, 64, **V),
    "regnetv_064": y(25, 112, 33.22, 2.27, 72, **V, downsample="avg"),
    "regnetz_005": z(21, 16, 10.7, 2.51, 4, num_features=1024),
    "regnetz_040": z(28, 48, 14.5, 2.226, 8),
    "regnetz_040_h": z(28, 48, 14.5, 2.226, 8, num_features=1536),
}

TIMM_URL = "https://github.com/huggingface/pytorch-image-models/releases/download"
TV_URL = "https://download.pytorch.org/models"
FB_URL = "https://dl.fbaipublicfiles.com"
SEER_URL = FB_URL + "/vissl/model_zoo"

TIMM = Weights(crop_pct=0.95, test_input_size=288, test_crop_pct=1.0)
PYCLS = Weights(license="mit", origin_url="https://github.com/facebookresearch/pycls")
TV2 = Weights(crop_pct=0.965, license="bsd-3-clause", origin_url="https://github.com/pytorch/vision")
SWAG_LC = TV2.but(license="cc-by-nc-4.0")
SWAG = SWAG_LC.but(input_size=384, crop_pct=1.0)
SEER = Weights(
    num_classes=0, crop_pct=0.965, license="seer-license", origin_url="https://github.com/facebookresearch/vissl"
)
SEER_FT = SEER.but(num_classes=1000, input_size=384, crop_pct=1.0)

# The first tag of a model is its default.
WEIGHTS = {
    "regnetv_040.ra3_in1k": TIMM.but(url=TIMM_URL + "/v0.1-tpu-weights/regnetv_040_ra3-c248f51f.pth"),
    "regnetv_064.ra3_in1k": TIMM.but(url=TIMM_URL + "/v0.1-tpu-weights/regnetv_064_ra3-530616c2.pth"),
    "regnetx_002.pycls_in1k": PYCLS,
    "regnetx_004.pycls_in1k": PYCLS,
    "regnetx_004_tv.tv2_in1k": TV2.but(url=TV_URL + "/regnet_x_400mf-62229a5f.pth"),
    "regnetx_006.pycls_in1k": PYCLS,
    "regnetx_008.tv2_in1k": TV2.but(url=TV_URL + "/regnet_x_800mf-94a99ebd.pth"),
    "regnetx_008.pycls_in1k": PYCLS,
    "regnetx_016.tv2_in1k": TV2.but(url=TV_URL + "/regnet_x_1_6gf-a12f2b72.pth"),
    "regnetx_016.pycls_in1k": PYCLS,
    "regnetx_032.tv2_in1k": TV2.but(url=TV_URL + "/regnet_x_3_2gf-7071aa85.pth"),
    "regnetx_032.pycls_in1k": PYCLS,
    "regnetx_040.pycls_in1k": PYCLS,
    "regnetx_064.pycls_in1k": PYCLS,
    "regnetx_080.tv2_in1k": TV2.but(url=TV_URL + "/regnet_x_8gf-2b70d774.pth"),
    "regnetx_080.pycls_in1k": PYCLS,
    "regnetx_120.pycls_in1k": PYCLS,
    "regnetx_160.tv2_in1k": TV2.but(url=TV_URL + "/regnet_x_16gf-ba3796d7.pth"),
    "regnetx_160.pycls_in1k": PYCLS,
    "regnetx_320.tv2_in1k": TV2.but(url=TV_URL + "/regnet_x_32gf-6eb8fdc6.pth"),
    "regnetx_320.pycls_in1k": PYCLS,
    "regnety_002.pycls_in1k": PYCLS,
    "regnety_004.tv2_in1k": TV2.but(url=TV_URL + "/regnet_y_400mf-e6988f5f.pth"),
    "regnety_004.pycls_in1k": PYCLS,
    "regnety_006.pycls_in1k": PYCLS,
    "regnety_008.pycls_in1k": PYCLS,
    "regnety_008_tv.tv2_in1k": TV2.but(url=TV_URL + "/regnet_y_800mf-58fc7688.pth"),
    "regnety_016.tv2_in1k": TV2.but(url=TV_URL + "/regnet_y_1_6gf-0d7bc02a.pth"),
    "regnety_016.pycls_in1k": PYCLS,
    "regnety_032.ra_in1k": TIMM.but(url=TIMM_URL + "/v0.1-weights/regnety_032_ra-7f2439f9.pth"),
    "regnety_032.tv2_in1k": TV2.but(url=TV_URL + "/regnet_y_3_2gf-9180c971.pth"),
    "regnety_032.pycls_in1k": PYCLS,
    "regnety_040.ra3_in1k": TIMM.but(url=TIMM_URL + "/v0.1-tpu-weights/regnety_040_ra3-670e1166.pth"),
    "regnety_040.pycls_in1k": PYCLS,
    "regnety_040_sgn.untrained": TIMM,
    "regnety_064.ra3_in1k": TIMM.but(url=TIMM_URL + "/v0.1-tpu-weights/regnety_064_ra3-aa26dc7d.pth"),
    "regnety_064.pycls_in1k": PYCLS,
    "regnety_080.ra3_in1k": TIMM.but(url=TIMM_URL + "/v0.1-tpu-weights/regnety_080_ra3-1fdc4344.pth"),
    "regnety_080.pycls_in1k": PYCLS,
    "regnety_080_tv.tv2_in1k": TV2.but(url=TV_URL + "/regnet_y_8gf-dc2b1b54.pth"),
    "regnety_120.sw_in12k_ft_in1k": TIMM,
    "regnety_120.sw_in12k": TIMM.but(num_classes=11821),
    "regnety_120.pycls_in1k": PYCLS,
    "regnety_160.sw_in12k_ft_in1k": TIMM,
    "regnety_160.lion_in12k_ft_in1k": TIMM,
    "regnety_160.sw_in12k": TIMM.but(num_classes=11821),
    "regnety_160.deit_in1k": TIMM.but(url=FB_URL + "/deit/regnety_160-a5fe301d.pth"),
    "regnety_160.tv2_in1k": TV2.but(url=TV_URL + "/regnet_y_16gf-3e4a00f9.pth"),
    "regnety_160.swag_ft_in1k": SWAG.but(url=TV_URL + "/regnet_y_16gf_swag-43afe44d.pth"),
    "regnety_160.swag_lc_in1k": SWAG_LC.but(url=TV_URL + "/regnet_y_16gf_lc_swag-f3ec0043.pth"),
    "regnety_160.pycls_in1k": PYCLS,
    "regnety_320.tv2_in1k": TV2.but(url=TV_URL + "/regnet_y_32gf-8db6d4b5.pth"),
    "regnety_320.swag_ft_in1k": SWAG.but(url=TV_URL + "/regnet_y_32gf_swag-04fdfa75.pth"),
    "regnety_320.swag_lc_in1k": SWAG_LC.but(url=TV_URL + "/regnet_y_32gf_lc_swag-e1583746.pth"),
    "regnety_320.seer_ft_in1k": SEER_FT.but(
        url=SEER_URL + "/seer_finetuned/seer_regnet32_finetuned_in1k_model_final_checkpoint_phase78.torch"
    ),
    "regnety_320.seer": SEER.but(url=SEER_URL + "/seer_regnet32d/seer_regnet32gf_model_iteration244000.torch"),
    "regnety_320.pycls_in1k": PYCLS,
    "regnety_640.seer_ft_in1k": SEER_FT.but(
        url=SEER_URL + "/seer_finetuned/seer_regnet64_finetuned_in1k_model_final_checkpoint_phase78.torch"
    ),
    "regnety_640.seer": SEER.but(url=SEER_URL + "/seer_regnet64/seer_regnet64gf_model_final_checkpoint_phase0.torch"),
    "regnety_1280.swag_ft_in1k": SWAG.but(url=TV_URL + "/regnet_y_128gf_swag-c8ce3e52.pth"),
    "regnety_1280.swag_lc_in1k": SWAG_LC.but(url=TV_URL + "/regnet_y_128gf_lc_swag-cbe8ce12.pth"),
    "regnety_1280.seer_ft_in1k": SEER_FT.but(
        url=SEER_URL + "/seer_finetuned/seer_regnet128_finetuned_in1k_model_final_checkpoint_phase78.torch"
    ),
    "regnety_1280.seer": SEER.but(
        url=SEER_URL
        + "/swav_ig1b_regnet128Gf_cnstant_bs32_node16_sinkhorn10_proto16k_syncBN64_warmup8k"
        + "/model_final_checkpoint_phase0.torch"
    ),
    "regnety_2560.seer_ft_in1k": SEER_FT.but(
        url=SEER_URL + "/seer_finetuned/seer_regnet256_finetuned_in1k_model_final_checkpoint_phase38.torch"
    ),
    "regnetz_005.untrained": TIMM,
    "regnetz_040.ra3_in1k": TIMM.but(
        url=TIMM_URL + "/v0.1-tpu-weights/regnetz_040_ra3-9007edf5.pth",
        input_size=256,
        test_input_size=320,
        crop_pct=1.0,
    ),
    "regnetz_040_h.ra3_in1k": TIMM.but(
        url=TIMM_URL + "/v0.1-tpu-weights/regnetz_040h_ra3-f594343b.pth",
        input_size=256,
        test_input_size=320,
        crop_pct=1.0,
    ),
}
