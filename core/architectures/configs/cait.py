"""CaiT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class CaitSpec(Spec):
    """One CaiT: `depth` blocks over patches, then `depth_token_only` blocks of class attention.

    `init_values` is where the factors of the branches start, `img_size` the side of the images or (height, width).
    """

    model_class: ClassVar[str] = "Cait"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts(
        (SizedTensors("pos_embed", "tokens", tells_size=True, arguments=(("as_reference", False),)),),
        patch_kernel="patch_embed.proj.weight",
    )

    embed_dim: int
    depth: int
    num_heads: int
    init_values: float
    depth_token_only: int = 2
    patch_size: int = 16
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    img_size: int | tuple[int, int] = 224

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj"


def cait(embed_dim: int, depth: int, num_heads: int, init_values: float = 1e-5) -> CaitSpec:
    return CaitSpec(embed_dim=embed_dim, depth=depth, num_heads=num_heads, init_values=init_values)


# Table 3 of arXiv:2103.17239; the deeper, the smaller the first factors (section 2).
VARIANTS = {
    "cait_xxs24_224": cait(192, 24, 4),
    "cait_xxs24_384": cait(192, 24, 4),
    "cait_xxs36_224": cait(192, 36, 4),
    "cait_xxs36_384": cait(192, 36, 4),
    "cait_xs24_384": cait(288, 24, 6),
    "cait_s24_224": cait(384, 24, 8),
    "cait_s24_384": cait(384, 24, 8),
    "cait_s36_384": cait(384, 36, 8, 1e-6),
    "cait_m36_384": cait(768, 36, 16, 1e-6),
    "cait_m48_448": cait(768, 48, 16, 1e-6),
}


def weights(name: str) -> Weights:
    """The one row of a variant, which ends in the side of its images."""
    _, size, side = name.upper().split("_")
    url = f"https://dl.fbaipublicfiles.com/deit/{size}_{side}.pth"
    return Weights(url=url, input_size=int(side), fixed_input_size=True, crop_pct=1.0)


WEIGHTS = {f"{name}.fb_dist_in1k": weights(name) for name in VARIANTS}
