"""DenseNet variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class DenseNetSpec(Spec):
    """One DenseNet-BC.

    Every layer adds `growth_rate` maps, from a bottleneck of `bn_size` times as many; `block_config` are the layers of
    each block. `stem_type` is "" (one 7x7), "deep" (three 3x3) or "deep_tiered" (three 3x3, the first two of other
    widths). `aa_layer` replaces strides by "blur" or "avg" pooling, in the stem alone with `aa_stem_only`.
    """

    model_class: ClassVar[str] = "DenseNet"
    classifier: ClassVar[str] = "classifier"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("inputs")

    choices = {"stem_type": ("", "deep", "deep_tiered"), "aa_layer": ("", "blur", "avg")}

    block_config: tuple[int, ...]
    growth_rate: int = 32
    bn_size: int = 4
    stem_type: str = ""
    act_layer: str = "relu"
    norm_layer: str = "batchnorm"
    aa_layer: str = ""
    aa_stem_only: bool = True

    @property
    def first_conv(self) -> str:
        return "features.conv0"


VARIANTS = {
    "densenet121": DenseNetSpec(block_config=(6, 12, 24, 16)),
    "densenet121d": DenseNetSpec(block_config=(6, 12, 24, 16), stem_type="deep"),
    "densenetblur121d": DenseNetSpec(block_config=(6, 12, 24, 16), stem_type="deep", aa_layer="blur"),
    "densenet161": DenseNetSpec(block_config=(6, 12, 36, 24), growth_rate=48),
    "densenet169": DenseNetSpec(block_config=(6, 12, 32, 32)),
    "densenet201": DenseNetSpec(block_config=(6, 12, 48, 32)),
    "densenet264": DenseNetSpec(block_config=(6, 12, 64, 48), growth_rate=48),
    "densenet264d": DenseNetSpec(block_config=(6, 12, 64, 48), growth_rate=48, stem_type="deep"),
}

RA = Weights(test_input_size=288, test_crop_pct=0.95)

WEIGHTS = {
    "densenet121.ra_in1k": RA,
    "densenet121.tv_in1k": Weights(),
    "densenetblur121d.ra_in1k": RA,
    "densenet161.tv_in1k": Weights(),
    "densenet169.tv_in1k": Weights(),
    "densenet201.tv_in1k": Weights(),
}
