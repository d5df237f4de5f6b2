"""SENet variants as first published for PyTorch, and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.resnet import SENET154, ResNetSpec, X32x4
from zoo.core.architectures.records import Weights


@dataclass(frozen=True, kw_only=True)
class SENetSpec(ResNetSpec):
    """A ResNet with squeeze-and-excitation, as converted from Caffe; `block` may be "caffe_bottleneck" too.

    `stem_type` is "" (one 7x7) or "deep" (three 3x3).
    """

    model_class: ClassVar[str] = "SENet"
    classifier: ClassVar[str] = "last_linear"

    choices = {"stem_type": ("", "deep"), "aa_layer": ("",), "attn_layer": ("se",)}

    attn_layer: str = "se"
    zero_init_last: bool = False

    @property
    def first_conv(self) -> str:
        return "layer0.conv1"


def senet(block: str, *layers: int, **fields: Any) -> SENetSpec:
    return SENetSpec(block=block, layers=layers, **fields)


VARIANTS = {
    "legacy_senet154": senet("bottleneck", 3, 8, 36, 3, **SENET154),
    "legacy_seresnet18": senet("basic", 2, 2, 2, 2),
    "legacy_seresnet34": senet("basic", 3, 4, 6, 3),
    "legacy_seresnet50": senet("caffe_bottleneck", 3, 4, 6, 3),
    "legacy_seresnet101": senet("caffe_bottleneck", 3, 4, 23, 3),
    "legacy_seresnet152": senet("caffe_bottleneck", 3, 8, 36, 3),
    "legacy_seresnext26_32x4d": senet("bottleneck", 2, 2, 2, 2, **X32x4),
    "legacy_seresnext50_32x4d": senet("bottleneck", 3, 4, 6, 3, **X32x4),
    "legacy_seresnext101_32x4d": senet("bottleneck", 3, 4, 23, 3, **X32x4),
}


def published(file: str, release: str = "weights", **fields: Any) -> Weights:
    url = f"https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-{release}/{file}.pth"
    return Weights(hub_id="", url=url, **{"interpolation": "bilinear", **fields})


WEIGHTS = {
    "legacy_senet154.in1k": published("legacy_senet154-e9eb9fe6"),
    "legacy_seresnet18.in1k": published("seresnet18-4bb0ce65", interpolation="bicubic"),
    "legacy_seresnet34.in1k": published("seresnet34-a4004e63"),
    "legacy_seresnet50.in1k": published("se_resnet50-ce0d4300", "cadene"),
    "legacy_seresnet101.in1k": published("se_resnet101-7e38fcc6", "cadene"),
    "legacy_seresnet152.in1k": published("se_resnet152-d17c99b7", "cadene"),
    "legacy_seresnext26_32x4d.in1k": published("seresnext26_32x4d-65ebdb501", interpolation="bicubic"),
    "legacy_seresnext50_32x4d.in1k": published("legacy_se_resnext50_32x4d-f3651bad"),
    "legacy_seresnext101_32x4d.in1k": published("legacy_se_resnext101_32x4d-37725eac"),
}
