"""TResNet variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class TResNetSpec(Spec):
    """One TResNet: blocks per stage, width of the first against 64. The second version has bottlenecks throughout."""

    model_class: ClassVar[str] = "TResNet"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.01, zero_bias=False)

    layers: tuple[int, int, int, int]
    width_factor: float = 1.0
    v2: bool = False

    @property
    def first_conv(self) -> str:
        return "body.conv1.conv"

    @property
    def input_layout(self) -> str:
        """Space to depth: 4 x 4 pixels of each channel."""
        return "blocks:16"

    @property
    def width(self) -> int:
        """Channels of the first stage; a multiple of 8 in the second version."""
        width = int(64 * self.width_factor)
        return width // 8 * 8 if self.v2 else width


VARIANTS = {
    "tresnet_m": TResNetSpec(layers=(3, 4, 11, 3)),
    "tresnet_l": TResNetSpec(layers=(4, 5, 18, 3), width_factor=1.2),
    "tresnet_xl": TResNetSpec(layers=(4, 5, 24, 3), width_factor=1.3),
    "tresnet_v2_l": TResNetSpec(layers=(3, 4, 23, 3), v2=True),
}

# Colours as they are, between 0 and 1.
MIIL = Weights(interpolation="bilinear", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

WEIGHTS = {
    "tresnet_m.miil_in21k_ft_in1k": MIIL,
    "tresnet_m.miil_in21k": MIIL.but(num_classes=11221),
    "tresnet_m.miil_in1k": MIIL,
    "tresnet_m.miil_in1k_448": MIIL.but(input_size=448),
    "tresnet_l.miil_in1k": MIIL,
    "tresnet_l.miil_in1k_448": MIIL.but(input_size=448),
    "tresnet_xl.miil_in1k": MIIL,
    "tresnet_xl.miil_in1k_448": MIIL.but(input_size=448),
    "tresnet_v2_l.miil_in21k_ft_in1k": MIIL,
    "tresnet_v2_l.miil_in21k": MIIL.but(num_classes=11221),
}
