"""RepViT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class RepVitSpec(Spec):
    """One RepViT: channels and blocks of each stage.

    `mlp_ratio` is the hidden width of a perceptron against its input. `legacy` norms each branch of a depthwise layer
    instead of their sum. `distillation` adds a second classifier, which learned from a teacher.
    """

    model_class: ClassVar[str] = "RepVit"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    embed_dim: tuple[int, ...]
    depth: tuple[int, ...]
    mlp_ratio: int = 2
    kernel_size: int = 3
    act_layer: str = "gelu"
    legacy: bool = False
    distillation: bool = True

    @property
    def first_conv(self) -> str:
        return "stem.conv1.c"

    @property
    def classifier(self) -> str | tuple[str, ...]:  # type: ignore[override]  # it depends on the variant here
        return ("head.head.l", "head.head_dist.l") if self.distillation else "head.head.l"


def repvit(width: int, depth: tuple[int, ...], legacy: bool = False) -> RepVitSpec:
    """Channels double from stage to stage."""
    return RepVitSpec(embed_dim=tuple(width * 2**stage for stage in range(4)), depth=depth, legacy=legacy)


VARIANTS = {
    # The first version of arXiv:2307.09283.
    "repvit_m1": repvit(48, (2, 2, 14, 2), legacy=True),
    "repvit_m2": repvit(64, (2, 2, 12, 2), legacy=True),
    "repvit_m3": repvit(64, (4, 4, 18, 2), legacy=True),
    # The last one.
    "repvit_m0_9": repvit(48, (2, 2, 14, 2)),
    "repvit_m1_0": repvit(56, (2, 2, 14, 2)),
    "repvit_m1_1": repvit(64, (2, 2, 12, 2)),
    "repvit_m1_5": repvit(64, (4, 4, 24, 4)),
    "repvit_m2_3": repvit(80, (6, 6, 34, 2)),
}

PLAIN = Weights(crop_pct=0.95)

WEIGHTS = {
    f"{name}.{tag}": PLAIN
    for name, spec in VARIANTS.items()
    for tag in (["dist_in1k"] if spec.legacy else ["dist_300e_in1k", "dist_450e_in1k"])
}
