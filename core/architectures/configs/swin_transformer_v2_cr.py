"""Variants of Reich's Swin Transformer V2 and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.configs.swin_transformer import SwinTransformerSpec
from zoo.core.architectures.records import ClassifierInit, SizeFacts, Weights


@dataclass(frozen=True, kw_only=True)
class SwinTransformerV2CrSpec(SwinTransformerSpec):
    """One network, in the words of the Swin Transformer.

    Without a `window_size` the sides of windows are those of the grid of patches by `window_ratio`, in all stages. A
    further norm ends every stage with `extra_norm_stage`, and follows every `extra_norm_period` blocks of a stage.
    """

    model_class: ClassVar[str] = "SwinTransformerV2Cr"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit(zero_bias=False)
    sizes: ClassVar[SizeFacts] = SizeFacts()

    window_size: int | tuple[int, ...] | tuple[tuple[int, int], ...] | None = None  # type: ignore[assignment]
    window_ratio: int = 8
    extra_norm_stage: bool = False
    extra_norm_period: int = 0

    @property
    def stage_windows(self) -> tuple[tuple[int, int], ...]:
        if self.window_size is not None:
            return super().stage_windows
        height, width = (self.img_size, self.img_size) if isinstance(self.img_size, int) else self.img_size
        rows, columns = (max(1, side // self.patch_size // self.window_ratio) for side in (height, width))
        return ((rows, columns),) * len(self.depths)


def cr(
    embed_dim: int, depth: int, img_size: int, *, heads: int = 0, stage_norm: bool = False, norm_period: int = 0
) -> SwinTransformerV2CrSpec:
    """Four stages of `heads`, by default with 32 channels each; `depth` is that of the third."""
    heads = heads or embed_dim // 32
    return SwinTransformerV2CrSpec(
        embed_dim=embed_dim,
        depths=(2, 2, depth, 2),
        num_heads=(heads, 2 * heads, 4 * heads, 8 * heads),
        img_size=img_size,
        extra_norm_stage=stage_norm,
        extra_norm_period=norm_period,
    )


VARIANTS = {
    "swinv2_cr_tiny_384": cr(96, 6, 384),
    "swinv2_cr_tiny_224": cr(96, 6, 224),
    "swinv2_cr_tiny_ns_224": cr(96, 6, 224, stage_norm=True),
    "swinv2_cr_small_384": cr(96, 18, 384),
    "swinv2_cr_small_224": cr(96, 18, 224),
    "swinv2_cr_small_ns_224": cr(96, 18, 224, stage_norm=True),
    "swinv2_cr_small_ns_256": cr(96, 18, 256, stage_norm=True),
    "swinv2_cr_base_384": cr(128, 18, 384),
    "swinv2_cr_base_224": cr(128, 18, 224),
    "swinv2_cr_base_ns_224": cr(128, 18, 224, stage_norm=True),
    "swinv2_cr_large_384": cr(192, 18, 384),
    "swinv2_cr_large_224": cr(192, 18, 224),
    "swinv2_cr_huge_384": cr(352, 18, 384, norm_period=6),
    "swinv2_cr_huge_224": cr(352, 18, 224, heads=8, norm_period=6),
    "swinv2_cr_giant_384": cr(512, 42, 384, norm_period=6),
    "swinv2_cr_giant_224": cr(512, 42, 224, norm_period=6),
}

URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights-swinv2/swin_v2_cr_"

SW = Weights(fixed_input_size=True, crop_pct=0.9)
UNTRAINED = SW.but(hub_id="")
UNTRAINED_384 = UNTRAINED.but(input_size=384, crop_pct=1.0)

WEIGHTS = {
    "swinv2_cr_tiny_384.untrained": UNTRAINED_384,
    "swinv2_cr_tiny_224.untrained": UNTRAINED,
    "swinv2_cr_tiny_ns_224.sw_in1k": SW.but(url=f"{URL}tiny_ns_224-ba8166c6.pth"),
    "swinv2_cr_small_384.untrained": UNTRAINED_384,
    "swinv2_cr_small_224.sw_in1k": SW.but(url=f"{URL}small_224-0813c165.pth"),
    "swinv2_cr_small_ns_224.sw_in1k": SW.but(url=f"{URL}small_ns_224_iv-2ce90f8e.pth"),
    "swinv2_cr_small_ns_256.untrained": UNTRAINED.but(input_size=256, crop_pct=1.0),
    "swinv2_cr_base_384.untrained": UNTRAINED_384,
    "swinv2_cr_base_224.untrained": UNTRAINED,
    "swinv2_cr_base_ns_224.untrained": UNTRAINED,
    "swinv2_cr_large_384.untrained": UNTRAINED_384,
    "swinv2_cr_large_224.untrained": UNTRAINED,
    "swinv2_cr_huge_384.untrained": UNTRAINED_384,
    "swinv2_cr_huge_224.untrained": UNTRAINED,
    "swinv2_cr_giant_384.untrained": UNTRAINED_384,
    "swinv2_cr_giant_224.untrained": UNTRAINED,
}
