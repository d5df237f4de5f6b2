"""Inception-ResNet v2 and its published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.configs._inception import TF, InceptionSpec


@dataclass(frozen=True, kw_only=True)
class InceptionResnetV2Spec(InceptionSpec):
    """Inception-ResNet v2."""

    model_class: ClassVar[str] = "InceptionResnetV2"
    classifier: ClassVar[str] = "classif"

    @property
    def first_conv(self) -> str:
        return "conv2d_1a.conv"


VARIANTS = {"inception_resnet_v2": InceptionResnetV2Spec()}

WEIGHTS = {
    "inception_resnet_v2.tf_in1k": TF.but(crop_pct=0.8975),
    "inception_resnet_v2.tf_ens_adv_in1k": TF.but(crop_pct=0.8975),
}
