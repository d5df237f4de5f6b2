"""ConViT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class ConVitSpec(Spec):
    """One ConViT: `num_heads` heads of `embed_dim` channels each.

    The first `local_up_to_layer` blocks attend by position too, at first with `locality_strength`; behind them the
    class token joins the patches. Sizes of images and patches are (height, width) or a side, in pixels.
    """

    model_class: ClassVar[str] = "ConVit"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(SizedTensors("pos_embed", "tokens", tells_size=True, arguments=(("as_reference", False),)),),
        patch_kernel="patch_embed.proj.weight",
    )

    num_heads: int
    embed_dim: int = 48
    depth: int = 12
    local_up_to_layer: int = 10
    locality_strength: float = 1.0
    img_size: int | tuple[int, int] = 224
    patch_size: int | tuple[int, int] = 16
    mlp_ratio: float = 4.0
    qkv_bias: bool = False

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj"

    @property
    def embeds_prefix(self) -> bool:
        return False


# Table 1 of arXiv:2103.10697.
VARIANTS = {
    "convit_tiny": ConVitSpec(num_heads=4),
    "convit_small": ConVitSpec(num_heads=9),
    "convit_base": ConVitSpec(num_heads=16),
}

WEIGHTS = {f"{name}.fb_in1k": Weights(fixed_input_size=True) for name in VARIANTS}
