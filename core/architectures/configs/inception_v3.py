"""Inception v3 and its published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.configs._inception import TF, InceptionSpec
from zoo.core.architectures.records import IMAGENET_MEAN, IMAGENET_STD, ClassifierInit


@dataclass(frozen=True, kw_only=True)
class InceptionV3Spec(InceptionSpec):
    """Inception v3."""

    model_class: ClassVar[str] = "InceptionV3"
    classifier: ClassVar[str] = "fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.1, zero_bias=False)

    @property
    def first_conv(self) -> str:
        return "Conv2d_1a_3x3.conv"


VARIANTS = {"inception_v3": InceptionV3Spec()}

WEIGHTS = {
    "inception_v3.tv_in1k": TF.but(url="https://download.pytorch.org/models/inception_v3_google-1a9a5a14.pth"),
    "inception_v3.tf_in1k": TF,
    "inception_v3.tf_adv_in1k": TF,
    "inception_v3.gluon_in1k": TF.but(mean=IMAGENET_MEAN, std=IMAGENET_STD),
}
