"""VOLO variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights

PATCH_SIZE = 8


@dataclass(frozen=True, kw_only=True)
class VoloSpec(Spec):
    """One VOLO: depth, width and heads of each stage; the first is of outlookers, the others of transformer blocks.

    `stem_hidden_dim` are the channels of the convolutions before the patches, `img_size` the side of the images or
    their (height, width).
    """

    model_class: ClassVar[str] = "VOLO"
    classifier: ClassVar[str | tuple[str, ...]] = ("head", "aux_head")
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts((SizedTensors("pos_embed", "channels_last_map", tells_size=True),))

    layers: tuple[int, ...]
    embed_dims: tuple[int, ...]
    num_heads: tuple[int, ...]
    mlp_ratio: float = 3.0
    stem_hidden_dim: int = 64
    qkv_bias: bool = False
    img_size: int | tuple[int, int] = 224

    @property
    def first_conv(self) -> str:
        return "patch_embed.conv.0"


def volo(layers: tuple[int, ...], width: int, heads: int, **fields: Any) -> VoloSpec:
    """Outlookers have half the channels of the blocks, and heads of 32 channels; `heads` are those of the blocks."""
    dims, all_heads = (width // 2, width, width, width), (width // 64, heads, heads, heads)
    return VoloSpec(layers=layers, embed_dims=dims, num_heads=all_heads, **fields)


# Table 2 of arXiv:2106.13112, and for each size the sides of the images and the crops of its weights.
D5 = volo((12, 12, 20, 4), 768, 16, mlp_ratio=4.0, stem_hidden_dim=128)
SIZES = {
    "d1": (volo((4, 4, 8, 2), 384, 12), {224: "84.2", 384: "85.2"}),
    "d2": (volo((6, 4, 10, 4), 512, 16), {224: "85.2", 384: "86.0"}),
    "d3": (volo((8, 8, 16, 4), 512, 16), {224: "85.4", 448: "86.3"}),
    "d4": (volo((8, 8, 16, 4), 768, 16), {224: "85.7", 448: "86.79"}),
    "d5": (D5, {224: "86.10", 448: "87.0", 512: "87.07"}),
}
"""With the accuracies that the files of the weights are named by."""

VARIANTS = {f"volo_{size}_{side}": spec for size, (spec, files) in SIZES.items() for side in files}

URL = "https://github.com/sail-sg/volo/releases/download/volo_1"


def weights(size: str, side: int, accuracy: str) -> Weights:
    crop_pct = 0.96 if side == 224 else 1.15 if size in ("d4", "d5") else 1.0
    url = f"{URL}/{size}_{side}_{accuracy}.pth.tar"
    return Weights(url=url, input_size=side, crop_pct=crop_pct, fixed_input_size=True)


WEIGHTS = {
    f"volo_{size}_{side}.sail_in1k": weights(size, side, accuracy)
    for size, (_, files) in SIZES.items()
    for side, accuracy in files.items()
}
