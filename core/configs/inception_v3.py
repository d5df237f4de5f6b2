"""Inception v3 and its published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.records import HALF, IMAGENET_MEAN, IMAGENET_STD, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class InceptionV3Spec(Spec):
    """Inception v3; its layers are those of the paper."""

    model_class: ClassVar[str] = "InceptionV3"
    classifier: ClassVar[str] = "fc"

    act_layer: str = "relu"
    norm_layer: str = "batchnorm"
    norm_eps: float = 1e-3

    @property
    def first_conv(self) -> str:
        return "Conv2d_1a_3x3.conv"


VARIANTS = {"inception_v3": InceptionV3Spec()}

# Convolutions without padding leave 8 positions of 299 pixels.
TF = Weights(input_size=299, pool_size=(8, 8), mean=HALF, std=HALF)

WEIGHTS = {
    "inception_v3.tv_in1k": TF.but(url="https://download.pytorch.org/models/inception_v3_google-1a9a5a14.pth"),
    "inception_v3.tf_in1k": TF,
    "inception_v3.tf_adv_in1k": TF,
    "inception_v3.gluon_in1k": TF.but(mean=IMAGENET_MEAN, std=IMAGENET_STD),
}
