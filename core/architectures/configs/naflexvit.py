"""Variants of vision transformers for images of any proportions, and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.vision_transformer import SIZES
from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD, HALF, ClassifierInit, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class NaFlexVitSpec(Spec):
    """One network, in the words of a vision transformer and these.

    Positions are learned for a grid of `pos_grid` (rows, columns), or with `pos_factorized` for its rows and columns
    each. They are fitted to an image's grid as `pos_filter` says, antialiased or with corners aligned; where
    `pos_keep_proportions`, the grid is part of a square one that is fitted.
    """

    model_class: ClassVar[str] = "NaFlexVit"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts(patch_kernel="embeds.proj.weight", patch_is_linear=True)
    choices = {
        "global_pool": ("", "token", "avg", "max", "avgmax", "map"),
        "pos_filter": ("bicubic", "bilinear"),
    }

    patch_size: int = 16
    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    init_values: float = 0.0
    class_token: bool = False
    reg_tokens: int = 0
    pos_grid: tuple[int, int] = (16, 16)
    pos_factorized: bool = False
    pos_filter: str = "bicubic"
    pos_antialias: bool = True
    pos_align_corners: bool = False
    pos_keep_proportions: bool = False
    final_norm: bool = True
    fc_norm: bool | None = None
    global_pool: str = "map"
    act_layer: str = "gelu"

    @property
    def first_conv(self) -> str:
        return "embeds.proj"

    @property
    def input_layout(self) -> str:
        return f"blocks:{self.patch_size**2}"  # a linear layer of patches, colour last

    @property
    def embeds_prefix(self) -> bool | None:
        return False if self.class_token or self.reg_tokens else None

    @property
    def norm_after_pool(self) -> bool:
        return self.global_pool == "avg" if self.fc_norm is None else self.fc_norm


def naflex(size: str, **fields: Any) -> NaFlexVitSpec:
    embed_dim, depth, num_heads, mlp_ratio = SIZES[size]
    shape = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
    return NaFlexVitSpec(**shape | fields)


def gap(size: str, reg_tokens: int = 4, **fields: Any) -> NaFlexVitSpec:
    """Registers, the average of the patches."""
    return naflex(size, init_values=1e-5, reg_tokens=reg_tokens, fc_norm=True, global_pool="avg", **fields)


def siglip(size: str) -> NaFlexVitSpec:
    """SigLIP 2 (arXiv:2502.14786)."""
    return naflex(size, pos_filter="bilinear", act_layer="gelu_tanh")


def radio(size: str, reg_tokens: int = 7, **fields: Any) -> NaFlexVitSpec:
    """C-RADIO without its final norm."""
    positions: dict[str, Any] = {"pos_grid": (128, 128), "pos_filter": "bilinear", "pos_antialias": False}
    tokens: dict[str, Any] = {"class_token": True, "reg_tokens": reg_tokens, "global_pool": "token"}
    return naflex(size, pos_keep_proportions=True, final_norm=False, **positions, **tokens, **fields)


ALIGNED = {"pos_align_corners": True}

VARIANTS = {
    "naflexvit_base_patch16_gap": gap("base"),
    "naflexvit_base_patch16_map": naflex("base", init_values=1e-5, reg_tokens=1),
    "naflexvit_base_patch16_par_gap": gap("base", pos_keep_proportions=True),
    "naflexvit_base_patch16_parfac_gap": gap("base", pos_keep_proportions=True, pos_factorized=True),
    "naflexvit_base_patch16_radio_v3": radio("base", init_values=1e-5, **ALIGNED),
    "naflexvit_base_patch16_siglip": siglip("base"),
    "naflexvit_giant_patch16_radio_v3": radio("giant_dinov2", mlp_ratio=4.0),
    "naflexvit_huge_patch16_radio_v3": radio("huge", **ALIGNED),
    "naflexvit_huge_patch16_radio_v4": radio("huge", 9),
    "naflexvit_large_patch16_radio_v3": radio("large", init_values=1e-5),
    "naflexvit_so150m2_patch16_reg1_gap": gap("so150m2", 1, qkv_bias=False),
    "naflexvit_so150m2_patch16_reg1_map": naflex("so150m2", init_values=1e-5, reg_tokens=1, qkv_bias=False),
    "naflexvit_so400m_patch16_radio_v4": radio("so400m", 9, mlp_ratio=4304 / 1152),
    "naflexvit_so400m_patch16_siglip": siglip("so400m"),
}

NAFLEX = Weights(input_size=384, crop_pct=1.0, mean=HALF, std=HALF)
UNTRAINED = NAFLEX.but(hub_id="")
SIGLIP = NAFLEX.but(num_classes=0)
RADIO = Weights(
    input_size=512,
    crop_pct=1.0,
    mean=CLIP_MEAN,
    std=CLIP_STD,
    num_classes=0,
    license="nvidia-open-model-license",
    origin_url="https://github.com/NVlabs/RADIO",
    paper_ids="arXiv:2412.07679",
)
RADIO_V4 = RADIO.but(paper_ids="arXiv:2601.17237")

WEIGHTS = {
    "naflexvit_base_patch16_gap.e300_s576_in1k": NAFLEX,
    "naflexvit_base_patch16_map.untrained": UNTRAINED,
    "naflexvit_base_patch16_par_gap.e300_s576_in1k": NAFLEX,
    "naflexvit_base_patch16_parfac_gap.e300_s576_in1k": NAFLEX,
    "naflexvit_base_patch16_radio_v3.c_radio": RADIO,
    "naflexvit_base_patch16_siglip.v2_webli": SIGLIP,
    "naflexvit_giant_patch16_radio_v3.c_radio": RADIO,
    "naflexvit_huge_patch16_radio_v3.c_radio": RADIO,
    "naflexvit_huge_patch16_radio_v4.c_radio": RADIO_V4,
    "naflexvit_large_patch16_radio_v3.c_radio": RADIO,
    "naflexvit_so150m2_patch16_reg1_gap.untrained": UNTRAINED,
    "naflexvit_so150m2_patch16_reg1_map.untrained": UNTRAINED,
    "naflexvit_so400m_patch16_radio_v4.c_radio": RADIO_V4,
    "naflexvit_so400m_patch16_siglip.v2_webli": SIGLIP,
}
