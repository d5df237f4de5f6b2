"""Variants of the image encoder of Qwen3-VL, Qwen3.5 and Qwen3.8, and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs._encoder import EncoderSpec
from zoo.core.architectures.records import HALF, Paths, Weights


@dataclass(frozen=True, kw_only=True)
class Qwen3VitSpec(EncoderSpec):
    """One encoder inside a classifier.

    Positions are learned for a square grid of `pos_embed_grid_size` rows. The projector puts `merge_size` by
    `merge_size` patches together.
    """

    model_class: ClassVar[str] = "Qwen3Vit"
    projection: ClassVar[str] = "merge"
    choices = {"encoder_pool": ("", "merge")}

    mlp_ratio: float = 4.0
    act_layer: str = "gelu_tanh"
    merge_size: int = 2
    pos_embed_grid_size: int = 48
    rope_temperature: float = 10000.0


@dataclass(frozen=True, kw_only=True)
class Qwen3EncoderSpec(Qwen3VitSpec):
    """The encoder by itself."""

    has_classifier: ClassVar[bool] = False
    classifier: ClassVar[Paths] = None
    global_pool: str = "merge"


SIZES: dict[str, dict[str, Any]] = {
    "88m": {"embed_dim": 768, "depth": 12, "num_heads": 12, "out_features": 1024},
    "306m": {"embed_dim": 1024, "depth": 24, "num_heads": 16, "out_features": 2048},
    "416m": {"embed_dim": 1152, "depth": 27, "num_heads": 16, "mlp_ratio": 4304 / 1152, "out_features": 5120},
}

VARIANTS = {
    **{f"qwen3_vit_{size}": Qwen3VitSpec(**shape) for size, shape in SIZES.items()},
    **{f"qwen3_vit_{size}_enc": Qwen3EncoderSpec(**shape) for size, shape in SIZES.items()},
    **{f"qwen3_vit_{size}_merge": Qwen3VitSpec(encoder_pool="merge", **shape) for size, shape in SIZES.items()},
}

QWEN = Weights(input_size=768, crop_pct=1.0, crop_mode="squash", mean=HALF, std=HALF, num_classes=0)


def of_model(source: str, width: int = 0, **stated: Any) -> Weights:
    """Weights from a language model of this width, where it is not that of the size's first."""
    model_args = (("out_features", width),) if width else ()
    return QWEN.but(origin_url=f"https://huggingface.co/Qwen/{source}", model_args=model_args, **stated)


SOURCES = {
    "88m.qwen3_5_0_8b": of_model("Qwen3.5-0.8B"),
    "306m.qwen3_5_2b": of_model("Qwen3.5-2B"),
    "306m.qwen3_5_4b": of_model("Qwen3.5-4B", 2560),
    "306m.qwen3_vl_4b": of_model("Qwen3-VL-4B-Instruct", 2560),
    "306m.qwen_drive_1_0_4b": of_model("Qwen-Drive-1.0-4B", 2560),
    "416m.qwen3_8_27b": of_model("Qwen3.8-27B"),
    "416m.qwen3_8_flash_next": of_model("Qwen3.8-Flash-Next", 2560, license="qwen-community-1.0"),
    "416m.qwen3_5_27b": of_model("Qwen3.5-27B"),
    "416m.qwen3_5_9b": of_model("Qwen3.5-9B", 4096),
    "416m.qwen3_vl_8b": of_model("Qwen3-VL-8B-Instruct", 4096),
    "416m.qwen3_vl_32b": of_model("Qwen3-VL-32B-Instruct"),
    "416m.qwen3_vl_30b_a3b": of_model("Qwen3-VL-30B-A3B-Instruct", 2048),
    "416m.qwen3_vl_235b_a22b": of_model("Qwen3-VL-235B-A22B-Instruct", 4096),
}

WEIGHTS = {
    f"qwen3_vit_{size}{form}.{tag}": weights
    for form in ("", "_enc", "_merge")
    for (size, _, tag), weights in ((name.partition("."), weights) for name, weights in SOURCES.items())
}
