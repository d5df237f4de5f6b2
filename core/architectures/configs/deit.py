"""DeiT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.vision_transformer import SIZES, VisionTransformerSpec, vit
from zoo.core.architectures.records import Weights


@dataclass(frozen=True, kw_only=True)
class DistilledSpec(VisionTransformerSpec):
    """With a distillation token and a classifier of its own."""

    model_class: ClassVar[str] = "VisionTransformerDistilled"
    classifier: ClassVar[str | tuple[str, ...]] = ("head", "head_dist")


def distilled(size: str, patch_size: int) -> DistilledSpec:
    embed_dim, depth, num_heads, _ = SIZES[size]
    return DistilledSpec(patch_size=patch_size, embed_dim=embed_dim, depth=depth, num_heads=num_heads)


def deit3(size: str, patch_size: int, **fields: Any) -> VisionTransformerSpec:
    return vit(size, patch_size, no_embed_class=True, init_values=1e-6, **fields)


VARIANTS = {
    "deit3_base_patch16_224": deit3("base", 16),
    "deit3_base_patch16_384": deit3("base", 16),
    "deit3_huge_patch14_224": deit3("huge", 14),
    "deit3_large_patch16_224": deit3("large", 16),
    "deit3_large_patch16_384": deit3("large", 16),
    "deit3_medium_patch16_224": deit3("medium", 16),
    "deit3_small_patch16_224": deit3("small", 16),
    "deit3_small_patch16_384": deit3("small", 16),
    "deit_base_distilled_patch16_224": distilled("base", 16),
    "deit_base_distilled_patch16_384": distilled("base", 16),
    "deit_base_patch16_224": vit("base", 16),
    "deit_base_patch16_384": vit("base", 16),
    "deit_small_distilled_patch16_224": distilled("small", 16),
    "deit_small_patch16_224": vit("small", 16),
    "deit_tiny_distilled_patch16_224": distilled("tiny", 16),
    "deit_tiny_patch16_224": vit("tiny", 16),
}

DEIT = "https://dl.fbaipublicfiles.com/deit"

VIT = Weights(fixed_input_size=True, crop_pct=0.9)
WHOLE = VIT.but(crop_pct=1.0)
LARGE = WHOLE.but(input_size=384)


def deit(file: str, row: Weights = VIT) -> Weights:
    return row.but(url=f"{DEIT}/{file}.pth")


WEIGHTS = {
    "deit3_base_patch16_224.fb_in1k": deit("deit_3_base_224_1k"),
    "deit3_base_patch16_224.fb_in22k_ft_in1k": deit("deit_3_base_224_21k", WHOLE),
    "deit3_base_patch16_384.fb_in1k": deit("deit_3_base_384_1k", LARGE),
    "deit3_base_patch16_384.fb_in22k_ft_in1k": deit("deit_3_base_384_21k", LARGE),
    "deit3_huge_patch14_224.fb_in1k": deit("deit_3_huge_224_1k"),
    "deit3_huge_patch14_224.fb_in22k_ft_in1k": deit("deit_3_huge_224_21k_v1", WHOLE),
    "deit3_large_patch16_224.fb_in1k": deit("deit_3_large_224_1k"),
    "deit3_large_patch16_224.fb_in22k_ft_in1k": deit("deit_3_large_224_21k", WHOLE),
    "deit3_large_patch16_384.fb_in1k": deit("deit_3_large_384_1k", LARGE),
    "deit3_large_patch16_384.fb_in22k_ft_in1k": deit("deit_3_large_384_21k", LARGE),
    "deit3_medium_patch16_224.fb_in1k": deit("deit_3_medium_224_1k"),
    "deit3_medium_patch16_224.fb_in22k_ft_in1k": deit("deit_3_medium_224_21k", WHOLE),
    "deit3_small_patch16_224.fb_in1k": deit("deit_3_small_224_1k"),
    "deit3_small_patch16_224.fb_in22k_ft_in1k": deit("deit_3_small_224_21k", WHOLE),
    "deit3_small_patch16_384.fb_in1k": deit("deit_3_small_384_1k", LARGE),
    "deit3_small_patch16_384.fb_in22k_ft_in1k": deit("deit_3_small_384_21k", LARGE),
    "deit_base_distilled_patch16_224.fb_in1k": deit("deit_base_distilled_patch16_224-df68dfff"),
    "deit_base_distilled_patch16_384.fb_in1k": deit("deit_base_distilled_patch16_384-d0272ac0", LARGE),
    "deit_base_patch16_224.fb_in1k": deit("deit_base_patch16_224-b5f2ef4d"),
    "deit_base_patch16_384.fb_in1k": deit("deit_base_patch16_384-8de9b5d1", LARGE),
    "deit_small_distilled_patch16_224.fb_in1k": deit("deit_small_distilled_patch16_224-649709d9"),
    "deit_small_patch16_224.fb_in1k": deit("deit_small_patch16_224-cd65a155"),
    "deit_tiny_distilled_patch16_224.fb_in1k": deit("deit_tiny_distilled_patch16_224-b40b3cf7"),
    "deit_tiny_patch16_224.fb_in1k": deit("deit_tiny_patch16_224-a1311bcf"),
}
