"""Variants of the image encoder of DeepSeek-V4 and V4.1, and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.configs._encoder import EncoderSpec
from zoo.core.architectures.records import HALF, Paths, Weights


@dataclass(frozen=True, kw_only=True)
class DeepSeekVitSpec(EncoderSpec):
    """One encoder inside a classifier.

    The projector puts `downsample_ratio` by `downsample_ratio` patches together. `dynamic_img_pad` fills up the last
    patches of an image with zeros.
    """

    model_class: ClassVar[str] = "DeepSeekVit"
    projection: ClassVar[str] = "align"
    small_size: ClassVar[int] = 70
    choices = {"encoder_pool": ("", "align")}

    img_size: int | tuple[int, int] = 546
    patch_size: int = 14
    embed_dim: int = 1024
    depth: int = 32
    num_heads: int = 16
    mlp_ratio: float = 2816 / 1024
    out_features: int = 5120
    downsample_ratio: int = 3
    rope_temperature: float = 10000.0
    dynamic_img_pad: bool = False


@dataclass(frozen=True, kw_only=True)
class DeepSeekEncoderSpec(DeepSeekVitSpec):
    """The encoder by itself."""

    has_classifier: ClassVar[bool] = False
    classifier: ClassVar[Paths] = None
    global_pool: str = "align"


VARIANTS = {
    "deepseek_vit_412m": DeepSeekVitSpec(),
    "deepseek_vit_412m_align": DeepSeekVitSpec(encoder_pool="align"),
    "deepseek_vit_412m_enc": DeepSeekEncoderSpec(),
}

HUB = "https://huggingface.co/deepseek-ai/"
FLASH = Weights(
    input_size=546,
    min_input_size=126,
    crop_pct=1.0,
    crop_mode="border",
    mean=HALF,
    std=HALF,
    num_classes=0,
    license="mit",
    origin_url=f"{HUB}DeepSeek-V4.1-Flash",
)
VISION_EXP = FLASH.but(
    input_size=392, origin_url=f"{HUB}DeepSeek-V4-Flash-Vision-Exp", model_args=(("out_features", 4096),)
)

WEIGHTS = {
    f"{name}.{tag}": weights
    for name in VARIANTS
    for tag, weights in {"deepseek_v4_1_flash": FLASH, "deepseek_v4_flash_vision_exp": VISION_EXP}.items()
}
