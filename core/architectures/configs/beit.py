"""BEiT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.eva import EvaSpec
from zoo.core.architectures.configs.vision_transformer import SIZES
from zoo.core.architectures.records import HALF, SizedTensors, SizeFacts, Weights


@dataclass(frozen=True, kw_only=True)
class BeitSpec(EvaSpec):
    """One network. `relative_bias` gives each attention biases by relative position."""

    model_class: ClassVar[str] = "Beit"
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(
            SizedTensors("pos_embed", "tokens", tells_size=True),
            SizedTensors(r"(.+\.)?relative_position_bias_table", "global_table", tells_size=True),
        ),
        patch_kernel="patch_embed.proj.weight",
        patch_in_timm=True,
    )
    choices = {
        "global_pool": ("", "token", "avg"),
        "block": ("pre_norm",),
        "attn_layer": ("",),
        "mlp_layer": ("mlp", "swiglu"),
        "rope": ("",),
    }

    embed_positions: bool = False
    relative_bias: bool = True


def beit(size: str, init_values: float = 1e-5, **fields: Any) -> BeitSpec:
    embed_dim, depth, num_heads, _ = SIZES[size]
    return BeitSpec(embed_dim=embed_dim, depth=depth, num_heads=num_heads, init_values=init_values, **fields)


VARIANTS = {
    "beit_base_patch16_224": beit("base", 0.1),
    "beit_base_patch16_384": beit("base", 0.1),
    "beit_large_patch16_224": beit("large"),
    "beit_large_patch16_384": beit("large"),
    "beit_large_patch16_512": beit("large"),
    "beitv2_base_patch16_224": beit("base"),
    "beitv2_large_patch16_224": beit("large"),
}

BEIT = Weights(fixed_input_size=True, crop_pct=0.9, mean=HALF, std=HALF)
BEIT_22K = BEIT.but(num_classes=21841)
BEIT_384 = BEIT.but(input_size=384, crop_pct=1.0)
V2 = Weights(fixed_input_size=True, crop_pct=0.9)
V2_22K = V2.but(num_classes=21841)
V2_LARGE = V2.but(crop_pct=0.95)

WEIGHTS = {
    "beit_base_patch16_224.in22k_ft_in22k_in1k": BEIT,
    "beit_base_patch16_224.in22k_ft_in22k": BEIT_22K,
    "beit_base_patch16_384.in22k_ft_in22k_in1k": BEIT_384,
    "beit_large_patch16_224.in22k_ft_in22k_in1k": BEIT,
    "beit_large_patch16_224.in22k_ft_in22k": BEIT_22K,
    "beit_large_patch16_384.in22k_ft_in22k_in1k": BEIT_384,
    "beit_large_patch16_512.in22k_ft_in22k_in1k": BEIT_384.but(input_size=512),
    "beitv2_base_patch16_224.in1k_ft_in22k_in1k": V2,
    "beitv2_base_patch16_224.in1k_ft_in1k": V2,
    "beitv2_base_patch16_224.in1k_ft_in22k": V2_22K,
    "beitv2_large_patch16_224.in1k_ft_in22k_in1k": V2_LARGE,
    "beitv2_large_patch16_224.in1k_ft_in1k": V2_LARGE,
    "beitv2_large_patch16_224.in1k_ft_in22k": V2_22K,
}
