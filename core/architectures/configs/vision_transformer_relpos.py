"""Vision transformers with relative positions, all by timm, and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.vision_transformer import SIZES, VisionTransformerSpec
from zoo.core.architectures.records import HALF, SizedTensors, SizeFacts, Weights


@dataclass(frozen=True, kw_only=True)
class RelPosSpec(VisionTransformerSpec):
    """One network: the biases of its attention are made by a perceptron with `rel_pos_dim` hidden channels.

    Where `rel_pos_type` is "bias", not "mlp", they are a table. Each block has its own, or all share one
    (`shared_rel_pos`).
    """

    model_class: ClassVar[str] = "VisionTransformerRelPos"
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(SizedTensors(r"(.+\.)?relative_position_bias_table", "global_table", tells_size=True),),
        patch_kernel="patch_embed.proj.weight",
    )

    choices = {**VisionTransformerSpec.choices, "rel_pos_type": ("mlp", "bias")}

    class_token: bool = False
    embed_positions: bool = False
    fc_norm: bool | None = False
    global_pool: str = "avg"
    init_values: float = 1e-6
    rel_pos_type: str = "mlp"
    rel_pos_dim: int = 128
    shared_rel_pos: bool = False


def relpos(size: str, patch_size: int = 16, *, qkv_bias: bool = False, **fields: Any) -> RelPosSpec:
    embed_dim, depth, num_heads, mlp_ratio = SIZES[size]
    shape = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
    return RelPosSpec(patch_size=patch_size, qkv_bias=qkv_bias, **{**shape, **fields})


FC_NORM: dict[str, Any] = {"fc_norm": True}
CLASS_TOKEN: dict[str, Any] = {"class_token": True, "global_pool": "token"}
POST_NORM: dict[str, Any] = {"block": "post_norm"}

VARIANTS = {
    "test_vit_relpos": relpos("test_96", mlp_ratio=2, **FC_NORM),
    "vit_relpos_small_patch16_224": relpos("small", **FC_NORM),
    "vit_relpos_medium_patch16_224": relpos("medium", **FC_NORM),
    "vit_relpos_base_patch16_224": relpos("base", **FC_NORM),
    "vit_relpos_base_patch16_plus_240": relpos("base_plus", qkv_bias=True, img_size=240),
    "vit_relpos_base_patch32_plus_rpn_256": relpos("base_plus", 32, qkv_bias=True, img_size=256, **POST_NORM),
    "vit_relpos_medium_patch16_cls_224": relpos("medium", rel_pos_dim=256, **CLASS_TOKEN),
    "vit_relpos_base_patch16_cls_224": relpos("base", **CLASS_TOKEN),
    "vit_relpos_base_patch16_clsgap_224": relpos("base", class_token=True, **FC_NORM),
    "vit_relpos_small_patch16_rpn_224": relpos("small", **POST_NORM),
    "vit_relpos_medium_patch16_rpn_224": relpos("medium", **POST_NORM),
    "vit_relpos_base_patch16_rpn_224": relpos("base", **POST_NORM),
    "vit_srelpos_small_patch16_224": relpos("small", rel_pos_dim=384, shared_rel_pos=True),
    "vit_srelpos_medium_patch16_224": relpos("medium", rel_pos_dim=512, shared_rel_pos=True),
}

URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-tpu-weights"
VIT = Weights(fixed_input_size=True, crop_pct=0.9, mean=HALF, std=HALF)


def sw(file: str, row: Weights = VIT) -> Weights:
    return row.but(url=f"{URL}/{file}.pth")


UNTRAINED = VIT.but(hub_id="")
WEIGHTS = {
    "test_vit_relpos.untrained": UNTRAINED.but(input_size=160, crop_pct=0.95),
    "vit_relpos_small_patch16_224.sw_in1k": sw("vit_relpos_small_patch16_224-sw-ec2778b4"),
    "vit_relpos_medium_patch16_224.sw_in1k": sw("vit_relpos_medium_patch16_224-sw-11c174af"),
    "vit_relpos_base_patch16_224.sw_in1k": sw("vit_relpos_base_patch16_224-sw-49049aed"),
    "vit_relpos_base_patch16_plus_240.untrained": UNTRAINED.but(input_size=240),
    "vit_relpos_base_patch32_plus_rpn_256.sw_in1k": sw(
        "vit_replos_base_patch32_plus_rpn_256-sw-dd486f51", VIT.but(input_size=256)
    ),
    "vit_relpos_medium_patch16_cls_224.sw_in1k": sw("vit_relpos_medium_patch16_cls_224-sw-cfe8e259"),
    "vit_relpos_base_patch16_cls_224.untrained": UNTRAINED,
    "vit_relpos_base_patch16_clsgap_224.sw_in1k": sw("vit_relpos_base_patch16_gapcls_224-sw-1a341d6c"),
    "vit_relpos_small_patch16_rpn_224.untrained": UNTRAINED,
    "vit_relpos_medium_patch16_rpn_224.sw_in1k": sw("vit_relpos_medium_patch16_rpn_224-sw-5d2befd8"),
    "vit_relpos_base_patch16_rpn_224.untrained": UNTRAINED,
    "vit_srelpos_small_patch16_224.sw_in1k": sw("vit_srelpos_small_patch16_224-sw-6cdb8849"),
    "vit_srelpos_medium_patch16_224.sw_in1k": sw("vit_srelpos_medium_patch16_224-sw-ad702b8c"),
}
