"""Swin Transformer V2 variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.configs.swin_transformer import SwinTransformerSpec
from zoo.core.architectures.records import SizeFacts, Weights


@dataclass(frozen=True, kw_only=True)
class SwinTransformerV2Spec(SwinTransformerSpec):
    """One Swin Transformer V2, in the words of the first generation.

    `pretrained_window_sizes` are the sides of the windows of each stage that the biases were trained in, where the
    published weights were trained further in larger ones.
    """

    model_class: ClassVar[str] = "SwinTransformerV2"
    sizes: ClassVar[SizeFacts] = SizeFacts(patch_kernel="patch_embed.proj.weight", patch_in_timm=True)

    pretrained_window_sizes: tuple[int, ...] = ()


def swinv2(
    embed_dim: int, depth: int, window: int, img_size: int = 256, enlarged: bool = False
) -> SwinTransformerV2Spec:
    """Four stages of heads with 32 channels each; `depth` is that of the third."""
    heads = embed_dim // 32
    return SwinTransformerV2Spec(
        embed_dim=embed_dim,
        depths=(2, 2, depth, 2),
        num_heads=(heads, 2 * heads, 4 * heads, 8 * heads),
        window_size=window,
        img_size=img_size,
        pretrained_window_sizes=(12, 12, 12, 6) if enlarged else (),
    )


VARIANTS = {
    "swinv2_tiny_window8_256": swinv2(96, 6, 8),
    "swinv2_tiny_window16_256": swinv2(96, 6, 16),
    "swinv2_small_window8_256": swinv2(96, 18, 8),
    "swinv2_small_window16_256": swinv2(96, 18, 16),
    "swinv2_base_window8_256": swinv2(128, 18, 8),
    "swinv2_base_window16_256": swinv2(128, 18, 16),
    "swinv2_base_window12_192": swinv2(128, 18, 12, 192),
    "swinv2_base_window12to16_192to256": swinv2(128, 18, 16, 256, enlarged=True),
    "swinv2_base_window12to24_192to384": swinv2(128, 18, 24, 384, enlarged=True),
    "swinv2_large_window12_192": swinv2(192, 18, 12, 192),
    "swinv2_large_window12to16_192to256": swinv2(192, 18, 16, 256, enlarged=True),
    "swinv2_large_window12to24_192to384": swinv2(192, 18, 24, 384, enlarged=True),
}

MS = Weights(input_size=256, fixed_input_size=True, crop_pct=0.9, license="mit")
MS_384 = MS.but(input_size=384, crop_pct=1.0)
MS_21K = MS.but(input_size=192, num_classes=21841)


def ms(file: str, row: Weights = MS) -> Weights:
    url = f"https://github.com/SwinTransformer/storage/releases/download/v2.0.0/swinv2_{file}.pth"
    return row.but(url=url)


WEIGHTS = {
    "swinv2_tiny_window8_256.ms_in1k": ms("tiny_patch4_window8_256"),
    "swinv2_tiny_window16_256.ms_in1k": ms("tiny_patch4_window16_256"),
    "swinv2_small_window8_256.ms_in1k": ms("small_patch4_window8_256"),
    "swinv2_small_window16_256.ms_in1k": ms("small_patch4_window16_256"),
    "swinv2_base_window8_256.ms_in1k": ms("base_patch4_window8_256"),
    "swinv2_base_window16_256.ms_in1k": ms("base_patch4_window16_256"),
    "swinv2_base_window12_192.ms_in22k": ms("base_patch4_window12_192_22k", MS_21K),
    "swinv2_base_window12to16_192to256.ms_in22k_ft_in1k": ms("base_patch4_window12to16_192to256_22kto1k_ft"),
    "swinv2_base_window12to24_192to384.ms_in22k_ft_in1k": ms("base_patch4_window12to24_192to384_22kto1k_ft", MS_384),
    "swinv2_large_window12_192.ms_in22k": ms("large_patch4_window12_192_22k", MS_21K),
    "swinv2_large_window12to16_192to256.ms_in22k_ft_in1k": ms("large_patch4_window12to16_192to256_22kto1k_ft"),
    "swinv2_large_window12to24_192to384.ms_in22k_ft_in1k": ms("large_patch4_window12to24_192to384_22kto1k_ft", MS_384),
}
