"""TNT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import HALF, ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class TNTSpec(Spec):
    """One TNT: `embed_dim` channels of a patch and `inner_dim` of a cell of 4 x 4 pixels in it.

    `legacy` embeds the cells before the image is cut into patches, and norms them where others norm the patch.
    `img_size` is the side of the images, or their (height, width).
    """

    model_class: ClassVar[str] = "TNT"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(SizedTensors("patch_pos", "tokens", tells_size=True, arguments=(("stride", 16),)),)
    )

    embed_dim: int
    inner_dim: int
    num_heads_outer: int
    num_heads_inner: int = 4
    depth: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = False
    legacy: bool = False
    img_size: int | tuple[int, int] = 224

    @property
    def first_conv(self) -> str:
        return "pixel_embed.proj"

    @property
    def embeds_prefix(self) -> bool:
        return True


# Table 1 of arXiv:2103.00112.
VARIANTS = {
    "tnt_s_legacy_patch16_224": TNTSpec(embed_dim=384, inner_dim=24, num_heads_outer=6, legacy=True),
    "tnt_s_patch16_224": TNTSpec(embed_dim=384, inner_dim=24, num_heads_outer=6),
    "tnt_b_patch16_224": TNTSpec(embed_dim=640, inner_dim=40, num_heads_outer=10),
}

IN1K = Weights(
    crop_pct=0.9,
    fixed_input_size=True,
    mean=HALF,
    std=HALF,
    origin_url="https://github.com/huawei-noah/Efficient-AI-Backbones/tree/master/tnt_pytorch",
    paper_name="Transformer in Transformer",
    paper_ids="arXiv:2103.00112",
)

WEIGHTS = {f"{name}.in1k": IN1K for name in VARIANTS}
