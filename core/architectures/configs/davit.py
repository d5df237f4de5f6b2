"""DaViT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class DaVitSpec(Spec):
    """One DaViT: in each stage `depths` pairs of blocks, `embed_dims` channels and `num_heads` heads.

    `window_size` is the side of a window of spatial attention, `down_kernel_size` the kernel between stages.
    `channel_attn_v2` takes Florence-2's form of channel attention, `named_blocks` its names of the two blocks.
    """

    model_class: ClassVar[str] = "DaVit"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    depths: tuple[int, ...]
    embed_dims: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: int = 7
    mlp_ratio: float = 4
    qkv_bias: bool = True
    down_kernel_size: int = 2
    channel_attn_v2: bool = False
    named_blocks: bool = False

    @property
    def first_conv(self) -> str:
        return "stem.conv"


def davit(width: int, depths: tuple[int, ...] = (1, 1, 9, 1), **fields: Any) -> DaVitSpec:
    """Channels double from stage to stage; a head has 32."""
    dims = tuple(width * 2**stage for stage in range(4))
    return DaVitSpec(depths=depths, embed_dims=dims, num_heads=tuple(dim // 32 for dim in dims), **fields)


FLORENCE: dict[str, Any] = {
    "window_size": 12,
    "down_kernel_size": 3,
    "channel_attn_v2": True,
    "named_blocks": True,
}

VARIANTS = {
    # Section 4 of arXiv:2204.03645.
    "davit_tiny": davit(96, (1, 1, 3, 1)),
    "davit_small": davit(96),
    "davit_base": davit(128),
    "davit_large": davit(192),
    "davit_huge": davit(256),
    "davit_giant": davit(384, (1, 1, 12, 3)),
    # Image towers of Florence-2 (arXiv:2311.06242).
    "davit_base_fl": davit(128, **FLORENCE),
    "davit_huge_fl": davit(256, **FLORENCE),
}

PLAIN = Weights(crop_pct=0.95)
TOWER = PLAIN.but(input_size=768, pool_size=(7, 7), num_classes=0)

WEIGHTS = {
    "davit_tiny.msft_in1k": PLAIN,
    "davit_small.msft_in1k": PLAIN,
    "davit_base.msft_in1k": PLAIN,
    "davit_large.untrained": PLAIN,
    "davit_huge.untrained": PLAIN,
    "davit_giant.untrained": PLAIN,
    "davit_base_fl.msft_florence2": TOWER.but(hub_id="microsoft/Florence-2-base"),
    "davit_huge_fl.msft_florence2": TOWER.but(hub_id="microsoft/Florence-2-large"),
}
