"""Image encoders of Segment Anything and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.vision_transformer import SIZES
from zoo.core.architectures.records import SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class VisionTransformerSAMSpec(Spec):
    """One encoder.

    Sizes of images and patches are (height, width) or a side, in pixels. The blocks of `global_attn_indexes` attend to
    the whole map, the others within windows of the side `window_size`, all with relative positions; `use_abs_pos` adds
    a position embedding. `neck_chans` is the width of the convolutions behind the blocks, 0 for a norm alone.
    """

    model_class: ClassVar[str] = "VisionTransformerSAM"
    classifier: ClassVar[str | tuple[str, ...]] = "head.fc"
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(
            SizedTensors("pos_embed", "channels_last_map", tells_size=True, arguments=(("as_reference", True),)),
            SizedTensors(r"blocks\.\d{1,4}\.attn\.rel_pos_[hw]", "quarterly_axis"),
        ),
        patch_kernel="patch_embed.proj.weight",
    )

    img_size: int | tuple[int, int] = 1024
    patch_size: int | tuple[int, int] = 16
    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    window_size: int = 14
    global_attn_indexes: tuple[int, ...]
    use_abs_pos: bool = True
    neck_chans: int = 256

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj"


def sam(size: str, **fields: Any) -> VisionTransformerSAMSpec:
    """A vision transformer of this size; the last block of each quarter attends to the whole map."""
    embed_dim, depth, num_heads, _ = SIZES[size]
    last = tuple(range(depth // 4 - 1, depth, depth // 4))
    shape: dict[str, Any] = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads}
    return VisionTransformerSAMSpec(global_attn_indexes=last, **shape, **fields)


VARIANTS = {
    "samvit_base_patch16": sam("base"),
    "samvit_large_patch16": sam("large"),
    "samvit_huge_patch16": sam("huge"),
    "samvit_base_patch16_224": sam("base", img_size=224, use_abs_pos=False, neck_chans=0),
}

URL = "https://dl.fbaipublicfiles.com/segment_anything"
SA_1B = Weights(input_size=1024, fixed_input_size=True, crop_pct=1.0, num_classes=0)

WEIGHTS = {
    "samvit_base_patch16.sa1b": SA_1B.but(url=URL + "/sam_vit_b_01ec64.pth"),
    "samvit_large_patch16.sa1b": SA_1B.but(url=URL + "/sam_vit_l_0b3195.pth"),
    "samvit_huge_patch16.sa1b": SA_1B.but(url=URL + "/sam_vit_h_4b8939.pth"),
    "samvit_base_patch16_224.untrained": Weights(license=None, fixed_input_size=True, crop_pct=0.9),
}
