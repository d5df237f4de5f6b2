"""PP-HGNet variants of both versions and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


class HgStage(NamedTuple):
    """`depth` blocks of a chain of convolutions with `width` channels each, which give `channels`.

    `light` ones are pointwise and then depthwise.
    """

    width: int
    channels: int
    depth: int = 1
    light: bool = False
    kernel: int = 3


@dataclass(frozen=True, kw_only=True)
class HgNetSpec(Spec):
    """One network: every chain has `num_layers` convolutions.

    `use_lab` puts a learned scale and shift behind activations, `head_hidden_size` is the width of the convolution
    after the pooling.
    """

    model_class: ClassVar[str] = "HighPerfGpuNet"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit()
    choices = {"stem_type": ("v1", "v2")}

    stem_type: str = "v2"
    stem_chs: tuple[int, ...]
    stages: tuple[HgStage, ...]
    num_layers: int
    head_hidden_size: int = 2048
    use_lab: bool = False

    @property
    def first_conv(self) -> str:
        return "stem.stem.0.conv" if self.stem_type == "v1" else "stem.stem1.conv"


def version_1(
    stem: tuple[int, int, int], num_layers: int, width: int, channels: tuple[int, ...], depths: tuple[int, ...]
) -> HgNetSpec:
    """Chains that widen by 32 channels from stage to stage, beginning with `width`."""
    rows = zip(range(width, width + 128, 32), channels, depths, strict=True)
    return HgNetSpec(stem_type="v1", stem_chs=stem, num_layers=num_layers, stages=tuple(HgStage(*row) for row in rows))


def version_2(
    stem: tuple[int, int],
    num_layers: int,
    widths: tuple[int, ...],
    channels: tuple[int, ...],
    depths: tuple[int, ...],
    use_lab: bool = False,
) -> HgNetSpec:
    """Light convolutions of 5x5 in the last two stages."""
    rows = zip(widths, channels, depths, (False, False, True, True), (3, 3, 5, 5), strict=True)
    stages = tuple(HgStage(*row) for row in rows)
    return HgNetSpec(stem_chs=stem, num_layers=num_layers, stages=stages, use_lab=use_lab)


VARIANTS = {
    "hgnet_tiny": version_1((48, 48, 96), 5, 96, (224, 448, 512, 768), (1, 1, 2, 1)),
    "hgnet_small": version_1((64, 64, 128), 6, 128, (256, 512, 768, 1024), (1, 1, 2, 1)),
    "hgnet_base": version_1((96, 96, 160), 7, 192, (320, 640, 960, 1280), (1, 2, 3, 2)),
    "hgnetv2_b0": version_2((16, 16), 3, (16, 32, 64, 128), (64, 256, 512, 1024), (1, 1, 2, 1), use_lab=True),
    "hgnetv2_b1": version_2((24, 32), 3, (32, 48, 96, 192), (64, 256, 512, 1024), (1, 1, 2, 1), use_lab=True),
    "hgnetv2_b2": version_2((24, 32), 4, (32, 64, 128, 256), (96, 384, 768, 1536), (1, 1, 3, 1), use_lab=True),
    "hgnetv2_b3": version_2((24, 32), 5, (32, 64, 128, 256), (128, 512, 1024, 2048), (1, 1, 3, 1), use_lab=True),
    "hgnetv2_b4": version_2((32, 48), 6, (48, 96, 192, 384), (128, 512, 1024, 2048), (1, 1, 3, 1)),
    "hgnetv2_b5": version_2((32, 64), 6, (64, 128, 256, 512), (128, 512, 1024, 2048), (1, 2, 5, 2)),
    "hgnetv2_b6": version_2((48, 96), 6, (96, 192, 384, 768), (192, 512, 1024, 2048), (2, 3, 6, 3)),
}

SSLD = Weights(test_input_size=288, crop_pct=0.965, test_crop_pct=1.0)
VERSION_1 = ("hgnet_tiny.paddle_in1k", "hgnet_tiny.ssld_in1k", "hgnet_small.paddle_in1k", "hgnet_small.ssld_in1k")
TAGS = ("ssld_stage2_ft_in1k", "ssld_stage1_in22k_in1k")

WEIGHTS = {
    **dict.fromkeys((*VERSION_1, "hgnet_base.ssld_in1k"), SSLD),
    **{f"hgnetv2_b{size}.{tag}": SSLD for size in range(7) for tag in TAGS},
}
