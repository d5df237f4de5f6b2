"""Swin Transformer variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights
from zoo.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SwinTransformerSpec(Spec):
    """One Swin Transformer: the width of its first stage, which doubles in each further one; depths and heads.

    `window_size` is the side of the windows, their (height, width), or one of these per stage (more than two).
    `img_size` is the side of the images, or their (height, width).
    """

    model_class: ClassVar[str] = "SwinTransformer"
    classifier: ClassVar[str | tuple[str, ...]] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(
            SizedTensors(
                r"layers\.\d\..+\.relative_position_bias_table",
                "window_table",
                arguments=(("windows_by_stage", "swin_s3_"),),
            ),
        ),
        patch_kernel="patch_embed.proj.weight",
        patch_in_timm=True,
    )

    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: int | tuple[int, ...] | tuple[tuple[int, int], ...] = 7
    patch_size: int = 4
    img_size: int | tuple[int, int] = 224
    mlp_ratio: float = 4.0
    qkv_bias: bool = True

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj"

    @property
    def stage_windows(self) -> tuple[tuple[int, int], ...]:
        """The window (height, width) of each stage."""
        given: Any = self.window_size
        if isinstance(given, int) or (len(given) == 2 and isinstance(given[0], int)):
            given = (given,) * len(self.depths)
        if len(given) != len(self.depths):
            raise UsageError(f"window_size must be one window or {len(self.depths)}, one per stage; found {given}.")
        return tuple((window, window) if isinstance(window, int) else tuple(window) for window in given)


def swin(
    embed_dim: int, depth: int, window_size: int | tuple[int, ...] = 7, img_size: int = 224
) -> SwinTransformerSpec:
    """Four stages of heads with 32 channels each; `depth` is that of the third."""
    heads = embed_dim // 32
    return SwinTransformerSpec(
        embed_dim=embed_dim,
        depths=(2, 2, depth, 2),
        num_heads=(heads, 2 * heads, 4 * heads, 8 * heads),
        window_size=window_size,
        img_size=img_size,
    )


VARIANTS = {
    "swin_tiny_patch4_window7_224": swin(96, 6),
    "swin_small_patch4_window7_224": swin(96, 18),
    "swin_base_patch4_window7_224": swin(128, 18),
    "swin_base_patch4_window12_384": swin(128, 18, 12, 384),
    "swin_large_patch4_window7_224": swin(192, 18),
    "swin_large_patch4_window12_384": swin(192, 18, 12, 384),
    # Found by search (arXiv:2111.14725).
    "swin_s3_tiny_224": swin(96, 6, (7, 7, 14, 7)),
    "swin_s3_small_224": swin(96, 18, (14, 14, 14, 7)),
    "swin_s3_base_224": swin(96, 30, (7, 7, 14, 7)),
}

URL = "https://github.com/SwinTransformer/storage/releases/download"
S3_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"

MS = Weights(crop_pct=0.9, fixed_input_size=True, license="mit")
MS_384 = MS.but(input_size=384, crop_pct=1.0)
MS_21K = MS.but(num_classes=21841)
MS_384_21K = MS_384.but(num_classes=21841)


def ms(file: str, row: Weights = MS) -> Weights:
    return row.but(url=f"{URL}/{file}.pth")


WEIGHTS = {
    "swin_base_patch4_window7_224.ms_in22k_ft_in1k": ms("v1.0.0/swin_base_patch4_window7_224_22kto1k"),
    "swin_base_patch4_window7_224.ms_in1k": ms("v1.0.0/swin_base_patch4_window7_224"),
    "swin_base_patch4_window7_224.ms_in22k": ms("v1.0.0/swin_base_patch4_window7_224_22k", MS_21K),
    "swin_base_patch4_window12_384.ms_in22k_ft_in1k": ms("v1.0.0/swin_base_patch4_window12_384_22kto1k", MS_384),
    "swin_base_patch4_window12_384.ms_in1k": ms("v1.0.0/swin_base_patch4_window12_384", MS_384),
    "swin_base_patch4_window12_384.ms_in22k": ms("v1.0.0/swin_base_patch4_window12_384_22k", MS_384_21K),
    "swin_large_patch4_window7_224.ms_in22k_ft_in1k": ms("v1.0.0/swin_large_patch4_window7_224_22kto1k"),
    "swin_large_patch4_window7_224.ms_in22k": ms("v1.0.0/swin_large_patch4_window7_224_22k", MS_21K),
    "swin_large_patch4_window12_384.ms_in22k_ft_in1k": ms("v1.0.0/swin_large_patch4_window12_384_22kto1k", MS_384),
    "swin_large_patch4_window12_384.ms_in22k": ms("v1.0.0/swin_large_patch4_window12_384_22k", MS_384_21K),
    "swin_s3_base_224.ms_in1k": MS.but(url=S3_URL + "/s3_b-a1e95db4.pth"),
    "swin_s3_small_224.ms_in1k": MS.but(url=S3_URL + "/s3_s-3bb4c69d.pth"),
    "swin_s3_tiny_224.ms_in1k": MS.but(url=S3_URL + "/s3_t-1d53f6a8.pth"),
    "swin_small_patch4_window7_224.ms_in22k_ft_in1k": ms("v1.0.8/swin_small_patch4_window7_224_22kto1k_finetune"),
    "swin_small_patch4_window7_224.ms_in1k": ms("v1.0.0/swin_small_patch4_window7_224"),
    "swin_small_patch4_window7_224.ms_in22k": ms("v1.0.8/swin_small_patch4_window7_224_22k", MS_21K),
    "swin_tiny_patch4_window7_224.ms_in1k": ms("v1.0.0/swin_tiny_patch4_window7_224"),
    "swin_tiny_patch4_window7_224.ms_in22k_ft_in1k": ms("v1.0.8/swin_tiny_patch4_window7_224_22kto1k_finetune"),
    "swin_tiny_patch4_window7_224.ms_in22k": ms("v1.0.8/swin_tiny_patch4_window7_224_22k", MS_21K),
}
