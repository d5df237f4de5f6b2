"""Vision transformer variants; the published weights are in _vision_transformer_weights.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs._vision_transformer_weights import WEIGHTS
from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec

__all__ = ["SIZES", "VARIANTS", "WEIGHTS", "VisionTransformerSpec", "vit"]


@dataclass(frozen=True, kw_only=True)
class VisionTransformerSpec(Spec):
    """One network.

    Sizes of images and patches are (height, width) or a side, in pixels. `mlp_ratio` is the hidden width of a
    perceptron by `embed_dim`. Norms: `pre_norm` stands before the first block, `embed_norm` in the patch embedding,
    `final_norm` behind the blocks, or behind the pooling where `fc_norm` says so (None: where patches are averaged or
    their maximum is taken); `qk_norm`, `scale_attn_norm` and `scale_mlp_norm` inside the blocks. `init_values` is the
    initial layer scale, 0 for none. The position embedding, if `embed_positions`, covers the prefix tokens
    (`class_token`, `reg_tokens`) unless `no_embed_class`. `dynamic_img_size` resamples it to the image,
    `dynamic_img_pad` pads images to whole patches. `attn_pool_num_heads` and `attn_pool_mlp_ratio` are of pooling by
    attention, 0 for those of the blocks.
    """

    model_class: ClassVar[str] = "VisionTransformer"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(SizedTensors("pos_embed", "tokens", tells_size=True),),
        patch_kernel="patch_embed.proj.weight",
        patch_in_timm=True,
        # FlexiViT and RADIO were trained with bilinear resizing: timm follows them.
        filters=(
            ("base_patch16_radio_v3", "linear, corners aligned"),
            ("huge_patch16_radio_v3", "linear, corners aligned"),
            ("flexi", "linear"),
            ("radio", "linear"),
        ),
    )

    choices = {
        "global_pool": ("", "token", "avg", "max", "avgmax", "map"),
        "block": ("pre_norm", "post_norm", "parallel", "parallel_diff", "parallel_branches"),
        "attn_layer": ("", "diff"),
        "mlp_layer": ("mlp", "swiglu", "swiglu_packed"),
    }

    img_size: int | tuple[int, int] = 224
    patch_size: int | tuple[int, int] = 16
    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    proj_bias: bool = True
    qk_norm: bool = False
    scale_attn_norm: bool = False
    scale_mlp_norm: bool = False
    init_values: float = 0.0
    class_token: bool = True
    reg_tokens: int = 0
    no_embed_class: bool = False
    embed_positions: bool = True
    pre_norm: bool = False
    embed_norm: bool = False
    final_norm: bool = True
    fc_norm: bool | None = None
    global_pool: str = "token"
    pool_include_prefix: bool = False
    attn_pool_num_heads: int = 0
    attn_pool_mlp_ratio: float = 0.0
    dynamic_img_size: bool = False
    dynamic_img_pad: bool = False
    act_layer: str = "gelu"
    norm_layer: str = "layernorm"
    norm_eps: float = 1e-6
    block: str = "pre_norm"
    attn_layer: str = ""
    mlp_layer: str = "mlp"

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj"

    @property
    def embeds_prefix(self) -> bool:
        return not self.no_embed_class

    @property
    def norm_after_pool(self) -> bool:
        return self.global_pool in ("avg", "max", "avgmax") if self.fc_norm is None else self.fc_norm


SIZES: dict[str, tuple[int, int, int, float]] = {
    "test": (64, 6, 2, 3),
    "test_96": (96, 9, 3, 3),
    "tiny": (192, 12, 3, 4),
    "wee": (256, 14, 4, 5),
    "pwee": (256, 16, 4, 5),
    "xsmall": (256, 10, 4, 4),
    "little": (320, 14, 5, 5.6),
    "small": (384, 12, 6, 4),
    "medium": (512, 12, 8, 4),
    "mediumd": (512, 20, 8, 4),
    "betwixt": (640, 12, 10, 4),
    "base": (768, 12, 12, 4),
    "base_plus": (896, 12, 14, 4),
    "so150m": (896, 18, 14, 2.572),
    "so150m2": (832, 21, 13, 34 / 13),
    "large": (1024, 24, 16, 4),
    "so400m": (1152, 27, 16, 3.7362),
    "huge": (1280, 32, 16, 4),
    "giant": (1408, 40, 16, 48 / 11),
    "giantopt": (1536, 40, 16, 4),
    "giant_dinov2": (1536, 40, 24, 5.33334),
    "gigantic": (1664, 48, 16, 64 / 13),
    "aim_large": (1024, 24, 8, 2.75),
    "aim_huge": (1536, 24, 12, 2.6667),
    "aim_1b": (2048, 24, 16, 2.75),
    "aim_3b": (3072, 24, 24, 2.6667),
}
"""Channels, blocks, heads and MLP ratio."""


def vit(size: str, patch_size: int, **fields: Any) -> VisionTransformerSpec:
    """A network of one of SIZES."""
    embed_dim, depth, num_heads, mlp_ratio = SIZES[size]
    shape = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
    return VisionTransformerSpec(patch_size=patch_size, **{**shape, **fields})


def clip(size: str, patch_size: int, **fields: Any) -> VisionTransformerSpec:
    """The image tower of CLIP."""
    return vit(size, patch_size, pre_norm=True, norm_eps=1e-5, **fields)


def gap(size: str, patch_size: int, **fields: Any) -> VisionTransformerSpec:
    """No class token: the average of the patches, behind the norm."""
    return vit(size, patch_size, class_token=False, global_pool="avg", fc_norm=False, **fields)


def reg_gap(size: str, patch_size: int, **fields: Any) -> VisionTransformerSpec:
    """Registers instead of a class token, the average of the patches."""
    pooling = {"class_token": False, "no_embed_class": True, "global_pool": "avg"}
    return vit(size, patch_size, init_values=1e-5, **pooling, **fields)


def map_pool(size: str, patch_size: int, **fields: Any) -> VisionTransformerSpec:
    """No class token, pooling by attention, as SigLIP."""
    return vit(size, patch_size, class_token=False, global_pool="map", **fields)


def dinov2(size: str, patch_size: int, reg_tokens: int = 0, **fields: Any) -> VisionTransformerSpec:
    """With registers, the position embedding is of the patches alone."""
    registers = {"reg_tokens": reg_tokens, "no_embed_class": reg_tokens > 0}
    return vit(size, patch_size, init_values=1e-5, **registers, **fields)


def tips(size: str, **fields: Any) -> VisionTransformerSpec:
    """TIPS v2: DINOv2's networks with one register."""
    return vit(size, 14, init_values=1.0, reg_tokens=1, no_embed_class=True, **fields)


def radio(size: str, patch_size: int, **fields: Any) -> VisionTransformerSpec:
    """C-RADIO without its final norm."""
    return vit(size, patch_size, no_embed_class=True, final_norm=False, **fields)


def parallel(size: str, patch_size: int, **fields: Any) -> VisionTransformerSpec:
    """Attention and perceptron side by side."""
    norms = {"pre_norm": True, "norm_layer": "rmsnorm", "qk_norm": True}
    return vit(size, patch_size, block="parallel", no_embed_class=True, qkv_bias=False, **norms, **fields)


def beit3(size: str, patch_size: int, **fields: Any) -> VisionTransformerSpec:
    """The image tower of BEiT-3: norms inside the blocks too."""
    return vit(size, patch_size, scale_attn_norm=True, scale_mlp_norm=True, global_pool="avg", norm_eps=1e-5, **fields)


def aimv2(size: str) -> VisionTransformerSpec:
    norms = {"embed_norm": True, "norm_layer": "rmsnorm", "norm_eps": 1e-5}
    return gap(size, 14, qkv_bias=False, proj_bias=False, act_layer="silu", mlp_layer="swiglu", **norms)


SO150M2 = vit("so150m2", 16, init_values=1e-05, qkv_bias=False, class_token=False, reg_tokens=1, global_pool="avg")
TEST_REGISTER: dict[str, Any] = {"class_token": False, "reg_tokens": 1, "init_values": 1e-5}
GIANT_SWIGLU: dict[str, Any] = {"mlp_layer": "swiglu_packed", "act_layer": "silu"}

VARIANTS = {
    "aimv2_1b_patch14_224": aimv2("aim_1b"),
    "aimv2_1b_patch14_336": aimv2("aim_1b"),
    "aimv2_1b_patch14_448": aimv2("aim_1b"),
    "aimv2_3b_patch14_224": aimv2("aim_3b"),
    "aimv2_3b_patch14_336": aimv2("aim_3b"),
    "aimv2_3b_patch14_448": aimv2("aim_3b"),
    "aimv2_huge_patch14_224": aimv2("aim_huge"),
    "aimv2_huge_patch14_336": aimv2("aim_huge"),
    "aimv2_huge_patch14_448": aimv2("aim_huge"),
    "aimv2_large_patch14_224": aimv2("aim_large"),
    "aimv2_large_patch14_336": aimv2("aim_large"),
    "aimv2_large_patch14_448": aimv2("aim_large"),
    "beit3_base_patch16_224": beit3("base", 16),
    "beit3_giant_patch14_224": beit3("giant", 14, mlp_ratio=4.3637),
    "beit3_giant_patch14_336": beit3("giant", 14, mlp_ratio=4.3637),
    "beit3_large_patch16_224": beit3("large", 16),
    "eva_large_patch14_196": vit("large", 14, global_pool="avg"),
    "eva_large_patch14_336": vit("large", 14, global_pool="avg"),
    "flexivit_base": vit("base", 16, no_embed_class=True),
    "flexivit_large": vit("large", 16, no_embed_class=True),
    "flexivit_small": vit("small", 16, no_embed_class=True),
    "test_vit": vit("test", 16, dynamic_img_size=True),
    "test_vit2": vit("test", 16, depth=8, global_pool="avg", dynamic_img_size=True, **TEST_REGISTER),
    "test_vit3": vit("test_96", 16, mlp_ratio=2, global_pool="map", pool_include_prefix=True, **TEST_REGISTER),
    "test_vit4": vit("test_96", 16, global_pool="avg", dynamic_img_size=True, norm_layer="rmsnorm", **TEST_REGISTER),
    "vit_base_patch8_224": vit("base", 8),
    "vit_base_patch14_dinov2": dinov2("base", 14),
    "vit_base_patch14_reg1_tipsv2": tips("base"),
    "vit_base_patch14_reg4_dinov2": dinov2("base", 14, reg_tokens=4),
    "vit_base_patch16_18x2_224": vit("base", 16, depth=18, init_values=1e-05, block="parallel_branches"),
    "vit_base_patch16_224": vit("base", 16),
    "vit_base_patch16_224_miil": vit("base", 16, qkv_bias=False),
    "vit_base_patch16_384": vit("base", 16),
    "vit_base_patch16_clip_224": clip("base", 16),
    "vit_base_patch16_clip_384": clip("base", 16),
    "vit_base_patch16_clip_quickgelu_224": clip("base", 16, act_layer="quick_gelu"),
    "vit_base_patch16_gap_224": gap("base", 16, num_heads=16),
    "vit_base_patch16_plus_240": vit("base_plus", 16, init_values=1e-05),
    "vit_base_patch16_plus_clip_240": clip("base_plus", 16),
    "vit_base_patch16_radio_v3": radio("base", 16, init_values=1e-05, reg_tokens=7),
    "vit_base_patch16_reg4_gap_256": vit(
        "base", 16, class_token=False, no_embed_class=True, global_pool="avg", reg_tokens=4
    ),
    "vit_base_patch16_rpn_224": vit(
        "base", 16, qkv_bias=False, init_values=1e-05, class_token=False, block="post_norm", global_pool="avg"
    ),
    "vit_base_patch16_siglip_224": map_pool("base", 16),
    "vit_base_patch16_siglip_256": map_pool("base", 16),
    "vit_base_patch16_siglip_384": map_pool("base", 16),
    "vit_base_patch16_siglip_512": map_pool("base", 16),
    "vit_base_patch16_siglip_gap_224": gap("base", 16),
    "vit_base_patch16_siglip_gap_256": gap("base", 16),
    "vit_base_patch16_siglip_gap_384": gap("base", 16),
    "vit_base_patch16_siglip_gap_512": gap("base", 16),
    "vit_base_patch16_xp_224": parallel("base", 16),
    "vit_base_patch32_224": vit("base", 32),
    "vit_base_patch32_384": vit("base", 32),
    "vit_base_patch32_clip_224": clip("base", 32),
    "vit_base_patch32_clip_256": clip("base", 32),
    "vit_base_patch32_clip_384": clip("base", 32),
    "vit_base_patch32_clip_448": clip("base", 32),
    "vit_base_patch32_clip_quickgelu_224": clip("base", 32, act_layer="quick_gelu"),
    "vit_base_patch32_plus_256": vit("base_plus", 32, init_values=1e-05),
    "vit_base_patch32_siglip_256": map_pool("base", 32, act_layer="gelu_tanh"),
    "vit_base_patch32_siglip_gap_256": gap("base", 32, act_layer="gelu_tanh"),
    "vit_betwixt_patch16_gap_256": gap("betwixt", 16, qkv_bias=False, init_values=1e-06),
    "vit_betwixt_patch16_reg1_gap_256": reg_gap("betwixt", 16, reg_tokens=1),
    "vit_betwixt_patch16_reg4_gap_256": reg_gap("betwixt", 16, reg_tokens=4),
    "vit_betwixt_patch16_reg4_gap_384": reg_gap("betwixt", 16, reg_tokens=4),
    "vit_betwixt_patch32_clip_224": clip("betwixt", 32),
    "vit_dlittle_patch16_reg1_gap_256": reg_gap("little", 16, reg_tokens=1, attn_layer="diff"),
    "vit_dpwee_patch16_reg1_gap_256": reg_gap("pwee", 16, reg_tokens=1, block="parallel_diff"),
    "vit_dwee_patch16_reg1_gap_256": reg_gap("wee", 16, reg_tokens=1, attn_layer="diff"),
    "vit_giant_patch14_224": vit("giant", 14),
    "vit_giant_patch14_clip_224": clip("giant", 14),
    "vit_giant_patch14_dinov2": dinov2("giant_dinov2", 14, **GIANT_SWIGLU),
    "vit_giant_patch14_reg1_tipsv2": tips("giant_dinov2", **GIANT_SWIGLU),
    "vit_giant_patch14_reg4_dinov2": dinov2("giant_dinov2", 14, reg_tokens=4, **GIANT_SWIGLU),
    "vit_giant_patch16_gap_224": gap("giant", 16),
    "vit_giant_patch16_radio_v3": radio("giant_dinov2", 16, mlp_ratio=4, reg_tokens=7),
    "vit_giantopt_patch16_siglip_256": map_pool("giantopt", 16, act_layer="gelu_tanh"),
    "vit_giantopt_patch16_siglip_384": map_pool("giantopt", 16, act_layer="gelu_tanh"),
    "vit_giantopt_patch16_siglip_gap_256": gap("giantopt", 16, act_layer="gelu_tanh"),
    "vit_giantopt_patch16_siglip_gap_384": gap("giantopt", 16, act_layer="gelu_tanh"),
    "vit_gigantic_patch14_224": vit("gigantic", 14),
    "vit_gigantic_patch14_clip_224": clip("gigantic", 14),
    "vit_gigantic_patch14_clip_378": clip("gigantic", 14),
    "vit_gigantic_patch14_clip_quickgelu_224": clip("gigantic", 14, act_layer="quick_gelu"),
    "vit_huge_patch14_224": vit("huge", 14),
    "vit_huge_patch14_clip_224": clip("huge", 14),
    "vit_huge_patch14_clip_336": clip("huge", 14),
    "vit_huge_patch14_clip_378": clip("huge", 14),
    "vit_huge_patch14_clip_quickgelu_224": clip("huge", 14, act_layer="quick_gelu"),
    "vit_huge_patch14_clip_quickgelu_378": clip("huge", 14, act_layer="quick_gelu"),
    "vit_huge_patch14_gap_224": gap("huge", 14),
    "vit_huge_patch14_xp_224": parallel("huge", 14),
    "vit_huge_patch16_gap_448": gap("huge", 16),
    "vit_huge_patch16_radio_v3": radio("huge", 16, reg_tokens=7),
    "vit_huge_patch16_radio_v4": radio("huge", 16, reg_tokens=9),
    "vit_intern300m_patch14_448": vit("large", 14, init_values=0.1, final_norm=False, dynamic_img_size=True),
    "vit_large_patch14_224": vit("large", 14),
    "vit_large_patch14_clip_224": clip("large", 14),
    "vit_large_patch14_clip_336": clip("large", 14),
    "vit_large_patch14_clip_quickgelu_224": clip("large", 14, act_layer="quick_gelu"),
    "vit_large_patch14_clip_quickgelu_336": clip("large", 14, act_layer="quick_gelu"),
    "vit_large_patch14_dinov2": dinov2("large", 14),
    "vit_large_patch14_reg1_tipsv2": tips("large"),
    "vit_large_patch14_reg4_dinov2": dinov2("large", 14, reg_tokens=4),
    "vit_large_patch14_xp_224": parallel("large", 14),
    "vit_large_patch16_224": vit("large", 16),
    "vit_large_patch16_384": vit("large", 16),
    "vit_large_patch16_radio_v3": radio("large", 16, init_values=1e-05, reg_tokens=7),
    "vit_large_patch16_siglip_256": map_pool("large", 16),
    "vit_large_patch16_siglip_384": map_pool("large", 16),
    "vit_large_patch16_siglip_512": map_pool("large", 16, act_layer="gelu_tanh"),
    "vit_large_patch16_siglip_gap_256": gap("large", 16),
    "vit_large_patch16_siglip_gap_384": gap("large", 16),
    "vit_large_patch16_siglip_gap_512": gap("large", 16, act_layer="gelu_tanh"),
    "vit_large_patch32_224": vit("large", 32),
    "vit_large_patch32_384": vit("large", 32),
    "vit_little_patch16_reg1_gap_256": reg_gap("little", 16, reg_tokens=1),
    "vit_little_patch16_reg4_gap_256": reg_gap("little", 16, reg_tokens=4),
    "vit_medium_patch16_clip_224": clip("medium", 16),
    "vit_medium_patch16_gap_240": gap("medium", 16, qkv_bias=False, init_values=1e-06),
    "vit_medium_patch16_gap_256": gap("medium", 16, qkv_bias=False, init_values=1e-06),
    "vit_medium_patch16_gap_384": gap("medium", 16, qkv_bias=False, init_values=1e-06),
    "vit_medium_patch16_reg1_gap_256": reg_gap("medium", 16, reg_tokens=1),
    "vit_medium_patch16_reg4_gap_256": reg_gap("medium", 16, reg_tokens=4),
    "vit_medium_patch32_clip_224": clip("medium", 32),
    "vit_mediumd_patch16_reg4_gap_256": reg_gap("mediumd", 16, reg_tokens=4),
    "vit_mediumd_patch16_reg4_gap_384": reg_gap("mediumd", 16, reg_tokens=4),
    "vit_pwee_patch16_reg1_gap_256": reg_gap("pwee", 16, reg_tokens=1, block="parallel"),
    "vit_small_patch8_224": vit("small", 8),
    "vit_small_patch14_dinov2": dinov2("small", 14),
    "vit_small_patch14_reg4_dinov2": dinov2("small", 14, reg_tokens=4),
    "vit_small_patch16_18x2_224": vit("small", 16, depth=18, init_values=1e-05, block="parallel_branches"),
    "vit_small_patch16_36x1_224": vit("small", 16, depth=36, init_values=1e-05),
    "vit_small_patch16_224": vit("small", 16),
    "vit_small_patch16_384": vit("small", 16),
    "vit_small_patch32_224": vit("small", 32),
    "vit_small_patch32_384": vit("small", 32),
    "vit_so150m2_patch16_reg1_gap_256": SO150M2,
    "vit_so150m2_patch16_reg1_gap_384": SO150M2,
    "vit_so150m2_patch16_reg1_gap_448": SO150M2,
    "vit_so150m_patch16_reg4_gap_256": gap("so150m", 16, reg_tokens=4),
    "vit_so150m_patch16_reg4_gap_384": gap("so150m", 16, reg_tokens=4),
    "vit_so150m_patch16_reg4_map_256": map_pool("so150m", 16, reg_tokens=4),
    "vit_so400m_patch14_reg1_tipsv2": tips("so400m", mlp_ratio=4304 / 1152),
    "vit_so400m_patch14_siglip_224": map_pool("so400m", 14),
    "vit_so400m_patch14_siglip_378": map_pool("so400m", 14),
    "vit_so400m_patch14_siglip_384": map_pool("so400m", 14),
    "vit_so400m_patch14_siglip_gap_224": gap("so400m", 14),
    "vit_so400m_patch14_siglip_gap_378": gap("so400m", 14),
    "vit_so400m_patch14_siglip_gap_384": gap("so400m", 14),
    "vit_so400m_patch14_siglip_gap_448": gap("so400m", 14),
    "vit_so400m_patch14_siglip_gap_896": gap("so400m", 14),
    "vit_so400m_patch16_radio_v4": radio("so400m", 16, mlp_ratio=4304 / 1152, reg_tokens=9),
    "vit_so400m_patch16_siglip_256": map_pool("so400m", 16, act_layer="gelu_tanh"),
    "vit_so400m_patch16_siglip_384": map_pool("so400m", 16, act_layer="gelu_tanh"),
    "vit_so400m_patch16_siglip_512": map_pool("so400m", 16, act_layer="gelu_tanh"),
    "vit_so400m_patch16_siglip_gap_256": gap("so400m", 16, act_layer="gelu_tanh"),
    "vit_so400m_patch16_siglip_gap_384": gap("so400m", 16, act_layer="gelu_tanh"),
    "vit_so400m_patch16_siglip_gap_512": gap("so400m", 16, act_layer="gelu_tanh"),
    "vit_tiny_patch16_224": vit("tiny", 16),
    "vit_tiny_patch16_384": vit("tiny", 16),
    "vit_wee_patch16_reg1_gap_256": reg_gap("wee", 16, reg_tokens=1),
    "vit_xsmall_patch16_clip_224": clip("xsmall", 16),
}
