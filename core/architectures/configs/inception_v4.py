"""Inception v4 and its published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.configs._inception import TF, InceptionSpec


@dataclass(frozen=True, kw_only=True)
class InceptionV4Spec(InceptionSpec):
    """Inception v4."""

    model_class: ClassVar[str] = "InceptionV4"
    classifier: ClassVar[str] = "last_linear"

    @property
    def first_conv(self) -> str:
        return "features.0.conv"


VARIANTS = {"inception_v4": InceptionV4Spec()}

WEIGHTS = {"inception_v4.tf_in1k": TF}
