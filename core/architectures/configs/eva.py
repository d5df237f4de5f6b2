"""Variants of EVA and of the vision transformers with rotary positions, and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.vision_transformer import SIZES as VIT_SIZES
from zoo.core.architectures.configs.vision_transformer import VisionTransformerSpec
from zoo.core.architectures.records import (
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    ClassifierInit,
    SizedTensors,
    SizeFacts,
    Weights,
)


@dataclass(frozen=True, kw_only=True)
class EvaSpec(VisionTransformerSpec):
    """One network, in the words of a vision transformer and these.

    `k_bias` gives keys a bias where queries and values have one. `split_qkv` projects the three separately; with
    `num_kv_heads` that many heads of keys and values serve all heads of queries, but not in the first and the last
    `num_full_blocks` blocks. `attn_scale_only` leaves out the layer scale of perceptrons.

    `rope` is the kind of rotary positions: "" for none, "axial", "mixed" or "centred"; `rope_temperature`,
    `rope_offset`, `rope_reference` (rows and columns), `rope_rescale`, `rope_columns_first` and `rope_rotate_half` are
    what they take.
    """

    model_class: ClassVar[str] = "Eva"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 2e-5)
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(SizedTensors("pos_embed", "tokens", tells_size=True),),
        patch_kernel="patch_embed.proj.weight",
        patch_in_timm=True,
    )
    choices = {
        "global_pool": ("", "token", "avg", "max", "avgmax", "map"),
        "block": ("pre_norm", "post_norm"),
        "attn_layer": ("",),
        "mlp_layer": ("mlp", "swiglu", "swiglu_packed"),
        "rope": ("", "axial", "mixed", "centred"),
    }

    global_pool: str = "avg"
    k_bias: bool = False
    split_qkv: bool = False
    num_kv_heads: int = 0
    num_full_blocks: int = 8
    attn_scale_only: bool = False
    rope: str = ""
    rope_temperature: float = 10000.0
    rope_offset: float = 0.0
    rope_reference: tuple[int, int] | None = None
    rope_rescale: float = 1.0
    rope_columns_first: bool = False
    rope_rotate_half: bool = False

    @property
    def embeds_prefix(self) -> bool:
        return self.embed_positions and not self.no_embed_class

    @property
    def norm_after_pool(self) -> bool:
        return self.global_pool == "avg" if self.fc_norm is None else self.fc_norm


SIZES: dict[str, tuple[int, int, int, float]] = {
    **VIT_SIZES,
    "giant_lingbot": (1536, 40, 24, 8 / 3),
    "giant_sapiens": (1536, 40, 24, 4),
    "gigantic_pe": (1536, 50, 16, 8960 / 1536),
    "enormous": (1792, 64, 16, 15360 / 1792),
    "huge_plus": (1280, 32, 20, 4),
    "5b": (2432, 56, 32, 4),
    "7b": (4096, 40, 32, 2),
}
"""Channels, blocks, heads and MLP ratio."""


def eva(size: str, patch_size: int, **fields: Any) -> EvaSpec:
    """A network of one of SIZES; a packed perceptron holds value and gate side by side, so its ratio is doubled."""
    embed_dim, depth, num_heads, mlp_ratio = SIZES[size]
    shape: dict[str, Any] = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
    shape |= fields
    if fields.get("mlp_layer") == "swiglu_packed":
        shape["mlp_ratio"] *= 2
    return EvaSpec(patch_size=patch_size, **shape)


def eva02(size: str, patch_size: int = 14, **fields: Any) -> EvaSpec:
    """EVA-02: rotary positions beside the learned ones, gated perceptrons, from "base" on with a norm inside."""
    layers: dict[str, Any] = {"mlp_layer": "swiglu_packed"}
    if size in ("base", "large"):
        layers = {"mlp_layer": "swiglu", "split_qkv": True, "scale_mlp_norm": True}
    rope: dict[str, Any] = {"rope": "axial", "rope_reference": (16, 16)}
    return eva(size, patch_size, mlp_ratio=4 * 2 / 3, act_layer="silu", **layers, **rope, **fields)


def eva02_clip(size: str, patch_size: int = 14) -> EvaSpec:
    return eva02(size, patch_size, scale_attn_norm=True, global_pool="token")


def reg_gap(size: str, reg_tokens: int = 1, **fields: Any) -> EvaSpec:
    """Registers instead of a class token, the average of the patches, rotary positions alone."""
    layers = {"class_token": False, "reg_tokens": reg_tokens, "embed_positions": False, "init_values": 1e-5}
    return eva(size, 16, **layers, rope="axial", rope_reference=(16, 16), **fields)


def pe(size: str, patch_size: int, reference: int, **fields: Any) -> EvaSpec:
    """Perception Encoder: a norm before the blocks; counts begin at 1 where there is a class token."""
    rope: dict[str, Any] = {
        "rope": "axial",
        "rope_reference": (reference, reference),
        "rope_columns_first": True,
    }
    rope["rope_offset"] = 1.0 if fields.get("class_token", True) else 0.0
    return eva(size, patch_size, pre_norm=True, k_bias=True, norm_eps=1e-5, **rope, **fields)


def pe_core(size: str, patch_size: int, reference: int, **fields: Any) -> EvaSpec:
    """With pooling by attention."""
    pool = {"global_pool": "map", "attn_pool_num_heads": 8, "attn_pool_mlp_ratio": 4.0}
    return pe(size, patch_size, reference, **pool, **fields)


def pe_dense(size: str, patch_size: int, reference: int = 32, **fields: Any) -> EvaSpec:
    """Tuned for language or dense features: no norm behind the blocks."""
    return pe(size, patch_size, reference, final_norm=False, fc_norm=False, **fields)


def rope_vit(size: str, rope: str, **fields: Any) -> EvaSpec:
    """RoPE-ViT; "ape" adds learned positions."""
    mixed = rope.startswith("mixed")
    kind: dict[str, Any] = {"rope": "mixed" if mixed else "axial", "rope_temperature": 10.0 if mixed else 100.0}
    learned = {"embed_positions": rope.endswith("ape"), "no_embed_class": rope.endswith("ape")}
    layers = {"k_bias": True, "init_values": 1e-5, "global_pool": "token", "rope_columns_first": True}
    return eva(size, 16, **kind, **learned, **layers, **fields)


def dinov3(size: str, **fields: Any) -> EvaSpec:
    """Coordinates between -1 and 1, registers, images of any size."""
    rope = {"rope": "centred", "rope_temperature": 100.0, "rope_rotate_half": True, "embed_positions": False}
    layers: dict[str, Any] = {"reg_tokens": 4, "init_values": 1e-5, "fc_norm": False, "norm_eps": 1e-5}
    return eva(size, 16, **rope, dynamic_img_size=True, **layers | fields)


def sapiens2(size: str, num_kv_heads: int) -> EvaSpec:
    """Portraits; heads share keys and values in the middle of the network."""
    layers: dict[str, Any] = {
        "split_qkv": True,
        "k_bias": True,
        "num_kv_heads": num_kv_heads,
        "qk_norm": True,
        "global_pool": "token",
    }
    norms = {"norm_layer": "rmsnorm", "norm_eps": 1e-6, "init_values": 1.0, "attn_scale_only": True}
    gates = {"mlp_layer": "swiglu_packed", "act_layer": "silu", "mlp_ratio": 4.0}
    return dinov3(size, img_size=(1024, 768), reg_tokens=8, rope_rescale=2.0, **layers, **norms, **gates)


GATED: dict[str, Any] = {"mlp_layer": "swiglu", "act_layer": "silu"}
NO_CLASS: dict[str, Any] = {"class_token": False}

VARIANTS = {
    "eva02_base_patch14_224": eva02("base"),
    "eva02_base_patch14_448": eva02("base"),
    "eva02_base_patch16_clip_224": eva02_clip("base", 16),
    "eva02_enormous_patch14_clip_224": eva("enormous", 14, block="post_norm", global_pool="token"),
    "eva02_large_patch14_224": eva02("large"),
    "eva02_large_patch14_448": eva02("large"),
    "eva02_large_patch14_clip_224": eva02_clip("large"),
    "eva02_large_patch14_clip_336": eva02_clip("large"),
    "eva02_small_patch14_224": eva02("small"),
    "eva02_small_patch14_336": eva02("small"),
    "eva02_tiny_patch14_224": eva02("tiny"),
    "eva02_tiny_patch14_336": eva02("tiny"),
    "eva_giant_patch14_224": eva("giant", 14),
    "eva_giant_patch14_336": eva("giant", 14),
    "eva_giant_patch14_560": eva("giant", 14),
    "eva_giant_patch14_clip_224": eva("giant", 14, global_pool="token"),
    "vit_5b_patch16_sapiens2": sapiens2("5b", 16),
    "vit_7b_patch16_dinov3": dinov3("7b", qkv_bias=False, **GATED),
    "vit_base_patch16_dinov3": dinov3("base", qkv_bias=False),
    "vit_base_patch16_dinov3_qkvb": dinov3("base"),
    "vit_base_patch16_lingbot": dinov3("base", global_pool="token"),
    "vit_base_patch16_rope_224": rope_vit("base", "axial", fc_norm=False),
    "vit_base_patch16_rope_ape_224": rope_vit("base", "axial_ape"),
    "vit_base_patch16_rope_mixed_224": rope_vit("base", "mixed"),
    "vit_base_patch16_rope_mixed_ape_224": rope_vit("base", "mixed_ape"),
    "vit_base_patch16_rope_reg1_gap_256": reg_gap("base"),
    "vit_base_patch16_sapiens2": sapiens2("base", 12),
    "vit_betwixt_patch16_rope_reg4_gap_256": reg_gap("betwixt", 4),
    "vit_giant_patch16_lingbot": dinov3("giant_lingbot", qkv_bias=False, global_pool="token", **GATED),
    "vit_giant_patch16_sapiens2": sapiens2("giant_sapiens", 12),
    "vit_huge_patch16_sapiens2": sapiens2("huge", 8),
    "vit_huge_plus_patch16_dinov3": dinov3("huge_plus", qkv_bias=False, **GATED),
    "vit_huge_plus_patch16_dinov3_qkvb": dinov3("huge_plus", **GATED),
    "vit_large_patch16_dinov3": dinov3("large", qkv_bias=False),
    "vit_large_patch16_dinov3_qkvb": dinov3("large"),
    "vit_large_patch16_lingbot": dinov3("large", global_pool="token"),
    "vit_large_patch16_rope_224": rope_vit("large", "axial"),
    "vit_large_patch16_rope_ape_224": rope_vit("large", "axial_ape"),
    "vit_large_patch16_rope_mixed_224": rope_vit("large", "mixed"),
    "vit_large_patch16_rope_mixed_ape_224": rope_vit("large", "mixed_ape"),
    "vit_large_patch16_sapiens2": sapiens2("large", 8),
    "vit_medium_patch16_rope_reg1_gap_256": reg_gap("medium"),
    "vit_mediumd_patch16_rope_reg1_gap_256": reg_gap("mediumd", qkv_bias=False),
    "vit_pe_core_base_patch16_224": pe_core("base", 16, 14),
    "vit_pe_core_gigantic_patch14_448": pe_core("gigantic_pe", 14, 32, **NO_CLASS),
    "vit_pe_core_large_patch14_336": pe_core("large", 14, 24),
    "vit_pe_core_small_patch16_384": pe_core("small", 16, 24),
    "vit_pe_core_tiny_patch16_384": pe_core("tiny", 16, 24),
    "vit_pe_lang_gigantic_patch14_448": pe_dense("gigantic_pe", 14, depth=47, init_values=0.1, **NO_CLASS),
    "vit_pe_lang_large_patch14_448": pe_dense("large", 14, depth=23, init_values=0.1),
    "vit_pe_spatial_base_patch16_512": pe_dense("base", 16),
    "vit_pe_spatial_gigantic_patch14_448": pe_dense("gigantic_pe", 14, init_values=0.1, **NO_CLASS),
    "vit_pe_spatial_large_patch14_448": pe_dense("large", 14),
    "vit_pe_spatial_small_patch16_512": pe_dense("small", 16),
    "vit_pe_spatial_tiny_patch16_512": pe_dense("tiny", 16),
    "vit_small_patch16_dinov3": dinov3("small", qkv_bias=False),
    "vit_small_patch16_dinov3_qkvb": dinov3("small"),
    "vit_small_patch16_lingbot": dinov3("small", global_pool="token"),
    "vit_small_patch16_rope_224": rope_vit("small", "axial"),
    "vit_small_patch16_rope_ape_224": rope_vit("small", "axial_ape"),
    "vit_small_patch16_rope_mixed_224": rope_vit("small", "mixed"),
    "vit_small_patch16_rope_mixed_ape_224": rope_vit("small", "mixed_ape"),
    "vit_small_plus_patch16_dinov3": dinov3("small", qkv_bias=False, **GATED),
    "vit_small_plus_patch16_dinov3_qkvb": dinov3("small", **GATED),
    "vit_tiny_patch16_dinov3_qkvb": dinov3("tiny", mlp_ratio=4.0),
}

EVA = Weights(fixed_input_size=True, crop_pct=0.9, mean=CLIP_MEAN, std=CLIP_STD, license="mit")
WHOLE_448 = EVA.but(input_size=448, crop_pct=1.0)
SQUASHED_448 = WHOLE_448.but(crop_mode="squash")
IN22K_448 = SQUASHED_448.but(num_classes=21841)
MIM = EVA.but(num_classes=0)
CLIP_768 = EVA.but(num_classes=768)
CLIP_1024 = EVA.but(num_classes=1024)
NAVER = Weights(fixed_input_size=True, crop_pct=0.9)
SBB = EVA.but(input_size=256, crop_pct=0.95)
SBB_HALF = SBB.but(mean=HALF, std=HALF)
PE = Weights(fixed_input_size=True, crop_pct=1.0, mean=HALF, std=HALF, num_classes=0)
PE_448 = PE.but(input_size=448)
PE_512 = PE.but(input_size=512)
PE_SMALL = PE.but(input_size=384, num_classes=512)
DINOV3 = Weights(input_size=256, fixed_input_size=True, crop_pct=1.0, num_classes=0, license="dinov3-license")
DINOV3_SAT = DINOV3.but(mean=(0.43, 0.411, 0.296), std=(0.213, 0.156, 0.143))
EUPE = DINOV3.but(license="fair-noncommercial-research-license")
SQUASHED = Weights(interpolation="bilinear", crop_pct=1.0, crop_mode="squash", num_classes=0)
SAPIENS2 = SQUASHED.but(
    input_size=(3, 1024, 768),
    min_input_size=(3, 256, 192),
    license="sapiens2-license",
    origin_url="https://github.com/facebookresearch/sapiens2",
    paper_ids="arXiv:2604.21681",
)


def lingbot(size: str) -> Weights:
    return SQUASHED.but(
        input_size=512,
        fixed_input_size=True,
        hub_id=f"belfner/vit_{size}_patch16_lingbot.robbyant",
        origin_url="https://github.com/robbyant/lingbot-vision",
        paper_ids="arXiv:2607.05247",
    )


WEIGHTS = {
    "eva02_base_patch14_224.mim_in22k": MIM,
    "eva02_base_patch14_448.mim_in22k_ft_in22k_in1k": SQUASHED_448,
    "eva02_base_patch14_448.mim_in22k_ft_in1k": WHOLE_448,
    "eva02_base_patch14_448.mim_in22k_ft_in22k": IN22K_448,
    "eva02_base_patch16_clip_224.merged2b": EVA.but(num_classes=512),
    "eva02_enormous_patch14_clip_224.laion2b": CLIP_1024,
    "eva02_enormous_patch14_clip_224.laion2b_plus": CLIP_1024,
    "eva02_enormous_patch14_clip_224.pretrain": MIM.but(hub_id=""),
    "eva02_large_patch14_224.mim_in22k": MIM,
    "eva02_large_patch14_224.mim_m38m": MIM,
    "eva02_large_patch14_448.mim_in22k_ft_in22k_in1k": SQUASHED_448,
    "eva02_large_patch14_448.mim_m38m_ft_in22k_in1k": SQUASHED_448,
    "eva02_large_patch14_448.mim_in22k_ft_in1k": WHOLE_448,
    "eva02_large_patch14_448.mim_m38m_ft_in1k": WHOLE_448,
    "eva02_large_patch14_448.mim_in22k_ft_in22k": IN22K_448,
    "eva02_large_patch14_448.mim_m38m_ft_in22k": IN22K_448,
    "eva02_large_patch14_clip_224.merged2b": CLIP_768,
    "eva02_large_patch14_clip_336.merged2b": WHOLE_448.but(input_size=336, num_classes=768),
    "eva02_small_patch14_224.mim_in22k": MIM,
    "eva02_small_patch14_336.mim_in22k_ft_in1k": WHOLE_448.but(input_size=336),
    "eva02_tiny_patch14_224.mim_in22k": MIM,
    "eva02_tiny_patch14_336.mim_in22k_ft_in1k": WHOLE_448.but(input_size=336),
    "eva_giant_patch14_224.clip_ft_in1k": EVA,
    "eva_giant_patch14_336.clip_ft_in1k": SQUASHED_448.but(input_size=336),
    "eva_giant_patch14_336.m30m_ft_in22k_in1k": SQUASHED_448.but(input_size=336, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "eva_giant_patch14_560.m30m_ft_in22k_in1k": SQUASHED_448.but(input_size=560, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "eva_giant_patch14_clip_224.laion400m": CLIP_1024,
    "eva_giant_patch14_clip_224.merged2b": CLIP_1024,
    "vit_5b_patch16_sapiens2.fb": SAPIENS2,
    "vit_7b_patch16_dinov3.lvd1689m": DINOV3,
    "vit_7b_patch16_dinov3.sat493m": DINOV3_SAT,
    "vit_base_patch16_dinov3.lvd1689m": DINOV3,
    "vit_base_patch16_dinov3_qkvb.lvd1689m": DINOV3,
    "vit_base_patch16_dinov3_qkvb.eupe_lvd1689m": EUPE,
    "vit_base_patch16_lingbot.robbyant": lingbot("base"),
    "vit_base_patch16_rope_224.naver_in1k": NAVER,
    "vit_base_patch16_rope_ape_224.naver_in1k": NAVER,
    "vit_base_patch16_rope_mixed_224.naver_in1k": NAVER,
    "vit_base_patch16_rope_mixed_ape_224.naver_in1k": NAVER,
    "vit_base_patch16_rope_reg1_gap_256.sbb_in1k": SBB_HALF,
    "vit_base_patch16_sapiens2.fb": SAPIENS2,
    "vit_betwixt_patch16_rope_reg4_gap_256.sbb_in1k": SBB,
    "vit_giant_patch16_lingbot.robbyant": lingbot("giant"),
    "vit_giant_patch16_sapiens2.fb": SAPIENS2,
    "vit_huge_patch16_sapiens2.fb": SAPIENS2,
    "vit_huge_plus_patch16_dinov3.lvd1689m": DINOV3,
    "vit_huge_plus_patch16_dinov3_qkvb.lvd1689m": DINOV3,
    "vit_large_patch16_dinov3.lvd1689m": DINOV3,
    "vit_large_patch16_dinov3.sat493m": DINOV3_SAT,
    "vit_large_patch16_dinov3_qkvb.lvd1689m": DINOV3,
    "vit_large_patch16_dinov3_qkvb.sat493m": DINOV3_SAT,
    "vit_large_patch16_lingbot.robbyant": lingbot("large"),
    "vit_large_patch16_rope_224.naver_in1k": NAVER,
    "vit_large_patch16_rope_ape_224.naver_in1k": NAVER,
    "vit_large_patch16_rope_mixed_224.naver_in1k": NAVER,
    "vit_large_patch16_rope_mixed_ape_224.naver_in1k": NAVER,
    "vit_large_patch16_sapiens2.fb": SAPIENS2,
    "vit_medium_patch16_rope_reg1_gap_256.sbb_in1k": SBB_HALF,
    "vit_mediumd_patch16_rope_reg1_gap_256.sbb_in1k": SBB_HALF,
    "vit_pe_core_base_patch16_224.fb": PE.but(num_classes=1024),
    "vit_pe_core_gigantic_patch14_448.fb": PE_448.but(num_classes=1280),
    "vit_pe_core_large_patch14_336.fb": PE.but(input_size=336, num_classes=1024),
    "vit_pe_core_small_patch16_384.fb": PE_SMALL,
    "vit_pe_core_tiny_patch16_384.fb": PE_SMALL,
    "vit_pe_lang_gigantic_patch14_448.fb": PE_448,
    "vit_pe_lang_gigantic_patch14_448.fb_tiling": PE_448,
    "vit_pe_lang_large_patch14_448.fb": PE_448,
    "vit_pe_lang_large_patch14_448.fb_tiling": PE_448,
    "vit_pe_spatial_base_patch16_512.fb": PE_512,
    "vit_pe_spatial_gigantic_patch14_448.fb": PE_448,
    "vit_pe_spatial_large_patch14_448.fb": PE_448,
    "vit_pe_spatial_small_patch16_512.fb": PE_512,
    "vit_pe_spatial_tiny_patch16_512.fb": PE_512,
    "vit_small_patch16_dinov3.lvd1689m": DINOV3,
    "vit_small_patch16_dinov3_qkvb.lvd1689m": DINOV3,
    "vit_small_patch16_dinov3_qkvb.eupe_lvd1689m": EUPE,
    "vit_small_patch16_lingbot.robbyant": lingbot("small"),
    "vit_small_patch16_rope_224.naver_in1k": NAVER,
    "vit_small_patch16_rope_ape_224.naver_in1k": NAVER,
    "vit_small_patch16_rope_mixed_224.naver_in1k": NAVER,
    "vit_small_patch16_rope_mixed_ape_224.naver_in1k": NAVER,
    "vit_small_plus_patch16_dinov3.lvd1689m": DINOV3,
    "vit_small_plus_patch16_dinov3_qkvb.lvd1689m": DINOV3,
    "vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m": EUPE,
}
