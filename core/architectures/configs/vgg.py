"""VGG variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class VggSpec(Spec):
    """One VGG: `repeats` 3x3 convolutions a stage, each stage followed by a pooling that halves the map.

    `norm_layer` is "" for the original network, without norms. `mlp_ratio` scales the width between the two fully
    connected layers.
    """

    model_class: ClassVar[str] = "VGG"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.01)

    repeats: tuple[int, ...]
    channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    act_layer: str = "relu"
    norm_layer: str = ""
    mlp_ratio: float = 1.0

    @property
    def first_conv(self) -> str:
        return "features.0"


# Table 1 of arXiv:1409.1556, configurations A, B, D and E.
A, B, D, E = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)

VARIANTS = {
    "vgg11": VggSpec(repeats=A),
    "vgg11_bn": VggSpec(repeats=A, norm_layer="batchnorm"),
    "vgg13": VggSpec(repeats=B),
    "vgg13_bn": VggSpec(repeats=B, norm_layer="batchnorm"),
    "vgg16": VggSpec(repeats=D),
    "vgg16_bn": VggSpec(repeats=D, norm_layer="batchnorm"),
    "vgg19": VggSpec(repeats=E),
    "vgg19_bn": VggSpec(repeats=E, norm_layer="batchnorm"),
}

WEIGHTS = {f"{name}.tv_in1k": Weights(interpolation="bilinear", license="bsd-3-clause") for name in VARIANTS}
