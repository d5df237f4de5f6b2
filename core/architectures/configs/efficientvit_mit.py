"""EfficientViT (MIT) variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from zoo.core.architectures.records import Spec, Weights


class EfficientVitStage(NamedTuple):
    """A block that halves the map and, behind it, blocks that keep it.

    `kind` is that of the latter. "attention" is attention and an inverted bottleneck, the others are inverted
    bottlenecks: "mbconv" with a norm behind each convolution, "lean" with one behind the last, "fused" with a dense
    convolution and norms. The first block of attention's stages is lean. `opening` and `expand` are the expansion of
    the first and of the other blocks.
    """

    kind: str
    opening: int = 4
    expand: int = 4


BASE = (*(EfficientVitStage("mbconv"),) * 2, *(EfficientVitStage("attention"),) * 2)
LARGE = (
    *(EfficientVitStage("fused", opening=16),) * 2,
    EfficientVitStage("lean", opening=16),
    EfficientVitStage("attention", opening=24, expand=6),
)


@dataclass(frozen=True, kw_only=True)
class EfficientVitMitSpec(Spec):
    """One EfficientViT: channels of the stem and the stages, blocks of the stem and, behind the first, of the stages.

    `head_dim` are the channels of a head of attention, `head_widths` those before and after the pooling. `norm_eps` is
    that of all norms but the one before the pooling.
    """

    model_class: ClassVar[str] = "EfficientVit"
    classifier: ClassVar[str] = "head.classifier.4"

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    head_widths: tuple[int, int]
    head_dim: int = 32
    stages: tuple[EfficientVitStage, ...] = BASE
    act_layer: str = "hard_swish"
    norm_eps: float = 1e-5

    @property
    def first_conv(self) -> str:
        return "stem.in_conv.conv"


def large(width: int, depths: tuple[int, ...], head_widths: tuple[int, int]) -> EfficientVitMitSpec:
    """One of the networks for the cloud, whose channels double with each stage from `width`."""
    widths = tuple(width << stage for stage in range(5))
    return EfficientVitMitSpec(
        widths=widths, depths=depths, head_widths=head_widths, stages=LARGE, act_layer="gelu_tanh", norm_eps=1e-7
    )


VARIANTS = {
    "efficientvit_b0": EfficientVitMitSpec(
        widths=(8, 16, 32, 64, 128), depths=(1, 1, 1, 2, 2), head_dim=16, head_widths=(1024, 1280)
    ),
    "efficientvit_b1": EfficientVitMitSpec(
        widths=(16, 32, 64, 128, 256), depths=(1, 1, 2, 3, 4), head_dim=16, head_widths=(1536, 1600)
    ),
    "efficientvit_b2": EfficientVitMitSpec(
        widths=(24, 48, 96, 192, 384), depths=(1, 2, 3, 4, 6), head_widths=(2304, 2560)
    ),
    "efficientvit_b3": EfficientVitMitSpec(
        widths=(32, 64, 128, 256, 512), depths=(1, 3, 5, 6, 9), head_widths=(2304, 2560)
    ),
    "efficientvit_l1": large(32, (1, 1, 1, 6, 6), (3072, 3200)),
    "efficientvit_l2": large(32, (1, 2, 2, 8, 8), (3072, 3200)),
    "efficientvit_l3": large(64, (1, 2, 2, 8, 8), (6144, 6400)),
}

# The image sizes that weights were published for; 224 where no others were.
SIZES = {
    **dict.fromkeys(("efficientvit_b1", "efficientvit_b2", "efficientvit_b3"), (224, 256, 288)),
    "efficientvit_l2": (224, 256, 288, 384),
    "efficientvit_l3": (224, 256, 320, 384),
}

WEIGHTS = {
    f"{name}.r{size}_in1k": Weights(input_size=size, crop_pct=0.95 if size == 224 and "_b" in name else 1.0)
    for name in VARIANTS
    for size in SIZES.get(name, (224,))
}
