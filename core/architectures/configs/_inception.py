"""What the specs of the Inception networks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import HALF, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class InceptionSpec(Spec):
    """An Inception network; its layers are those of the paper, their norm and activation can be chosen."""

    small_size: ClassVar[int] = 128
    is_padded: ClassVar[bool] = False

    act_layer: str = "relu"
    norm_layer: str = "batchnorm"
    norm_eps: float = 1e-3


# Convolutions without padding leave 8 positions of 299 pixels.
TF = Weights(input_size=299, pool_size=(8, 8), mean=HALF, std=HALF)
