"""XCiT variants and their published weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class XcitSpec(Spec):
    """One XCiT: `depth` blocks, then `cls_attn_layers` of class attention.

    `eta` is where the factors of the branches start. `tokens_norm` norms the patches in front of the perceptron of
    class attention, not the class token alone.
    """

    model_class: ClassVar[str] = "Xcit"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None

    embed_dim: int
    depth: int
    num_heads: int
    patch_size: int = 16
    eta: float = 1.0
    tokens_norm: bool = True
    cls_attn_layers: int = 2
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    act_layer: str = "gelu"

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj.0.0"


def xcit(embed_dim: int, depth: int, num_heads: int, tokens_norm: bool = True) -> XcitSpec:
    """The deeper ones start with small factors (section 4 of arXiv:2106.09681)."""
    eta = 1.0 if depth < 18 else 1e-5
    return XcitSpec(embed_dim=embed_dim, depth=depth, num_heads=num_heads, eta=eta, tokens_norm=tokens_norm)


# Table 1 of arXiv:2106.09681.
SIZES = {
    "nano_12": xcit(128, 12, 4, tokens_norm=False),
    "tiny_12": xcit(192, 12, 4),
    "small_12": xcit(384, 12, 8),
    "tiny_24": xcit(192, 24, 4),
    "small_24": xcit(384, 24, 8),
    "medium_24": xcit(512, 24, 8),
    "large_24": xcit(768, 24, 16),
}

VARIANTS = {
    f"xcit_{size}_p{patch}_{side}": replace(spec, patch_size=patch)
    for patch in (16, 8)
    for size, spec in SIZES.items()
    for side in (224, 384)
}

URL = "https://dl.fbaipublicfiles.com/xcit"
PLAIN = Weights(fixed_input_size=True, crop_pct=1.0)


def weights(name: str) -> Iterator[tuple[str, Weights]]:
    """The rows of a variant: those of 384 pixels were only learned from a teacher."""
    side = int(name.rpartition("_")[2])
    if side == 224:
        yield f"{name}.fb_in1k", PLAIN.but(url=f"{URL}/{name}.pth")
    yield f"{name}.fb_dist_in1k", PLAIN.but(url=f"{URL}/{name}_dist.pth", input_size=side)


WEIGHTS = dict(row for name in VARIANTS for row in weights(name))
