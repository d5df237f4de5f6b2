"""ViTamin variants (arXiv:2404.02132) and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.vision_transformer import VisionTransformerSpec
from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD, SizedTensors, SizeFacts, Weights


@dataclass(frozen=True, kw_only=True)
class ViTaminSpec(VisionTransformerSpec):
    """One network: two stages of convolutions, of `conv_widths` and `conv_depths`, then the blocks.

    `patch_size` is in cells of the map, of 16 pixels each.
    """

    model_class: ClassVar[str] = "ViTamin"
    sizes: ClassVar[SizeFacts] = SizeFacts(
        (SizedTensors("pos_embed", "tokens", tells_size=True, arguments=(("stride", 16),)),)
    )

    conv_widths: tuple[int, int]
    conv_depths: tuple[int, int] = (2, 4)
    patch_size: int | tuple[int, int] = 1
    mlp_ratio: float = 2.0
    class_token: bool = False
    global_pool: str = "avg"

    @property
    def first_conv(self) -> str:
        return "patch_embed.backbone.stem.conv1"


SIZES = {
    "small": (64, 384, 14, 6),
    "base": (128, 768, 14, 12),
    "large": (160, 1024, 31, 16),
    "xlarge": (192, 1152, 32, 16),
}
"""Channels of the first stage and of the blocks, blocks, heads."""


def vitamin(size: str, img_size: int = 224) -> ViTaminSpec:
    width, embed_dim, depth, num_heads = SIZES[size]
    shape: dict[str, Any] = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads}
    return ViTaminSpec(img_size=img_size, conv_widths=(width, 2 * width), embed_positions=size != "xlarge", **shape)


VARIANTS = {
    "vitamin_small_224": vitamin("small"),
    "vitamin_base_224": vitamin("base"),
    "vitamin_large_224": vitamin("large"),
    "vitamin_large_256": vitamin("large", 256),
    "vitamin_large_336": vitamin("large", 336),
    "vitamin_large_384": vitamin("large", 384),
    "vitamin_large2_224": vitamin("large"),
    "vitamin_large2_256": vitamin("large", 256),
    "vitamin_large2_336": vitamin("large", 336),
    "vitamin_large2_384": vitamin("large", 384),
    "vitamin_xlarge_256": vitamin("xlarge", 256),
    "vitamin_xlarge_336": vitamin("xlarge", 336),
    "vitamin_xlarge_384": vitamin("xlarge", 384),
}

CLIP = Weights(fixed_input_size=True, crop_pct=0.9, mean=CLIP_MEAN, std=CLIP_STD, num_classes=768, license="mit")


def authors(repository: str, row: Weights = CLIP) -> Weights:
    return row.but(hub_id=f"jienengchen/ViTamin-{repository}")


def sized(repository: str, side: int, num_classes: int) -> Weights:
    row = CLIP.but(num_classes=num_classes, input_size=side, crop_pct=0.9 if side == 224 else 1.0)
    return authors(f"{repository}-{side}px", row)


WEIGHTS = {
    "vitamin_small_224.datacomp1b_clip_ltt": authors("S-LTT"),
    "vitamin_small_224.datacomp1b_clip": authors("S", CLIP.but(num_classes=384)),
    "vitamin_base_224.datacomp1b_clip_ltt": authors("B-LTT"),
    "vitamin_base_224.datacomp1b_clip": authors("B"),
    **{f"vitamin_large_{side}.datacomp1b_clip": sized("L", side, 768) for side in (224, 256, 336, 384)},
    **{f"vitamin_large2_{side}.datacomp1b_clip": sized("L2", side, 1024) for side in (224, 256, 336, 384)},
    **{f"vitamin_xlarge_{side}.datacomp1b_clip": sized("XL", side, 1152) for side in (256, 336, 384)},
}
