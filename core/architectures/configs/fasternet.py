"""FasterNet variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class FasterNetSpec(Spec):
    """One FasterNet.

    `embed_dim` are the channels of the first stage, each further stage has twice as many; `depths` are the blocks of
    each. Of `n_div` parts of the channels one is convolved. `mlp_ratio` is the hidden width of a block against its
    input, `feature_dim` the width between pooling and classifier. `drop_path_rate` is that of stochastic depth in the
    last block.
    """

    model_class: ClassVar[str] = "FasterNet"
    classifier: ClassVar[str] = "classifier"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    embed_dim: int
    depths: tuple[int, ...]
    drop_path_rate: float
    act_layer: str = "relu"
    mlp_ratio: float = 2.0
    n_div: int = 4
    feature_dim: int = 1280

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj"


TINY = 1, 2, 8, 2

# Table 1 of arXiv:2303.03667.
VARIANTS = {
    "fasternet_t0": FasterNetSpec(embed_dim=40, depths=TINY, drop_path_rate=0.0, act_layer="gelu"),
    "fasternet_t1": FasterNetSpec(embed_dim=64, depths=TINY, drop_path_rate=0.02, act_layer="gelu"),
    "fasternet_t2": FasterNetSpec(embed_dim=96, depths=TINY, drop_path_rate=0.05),
    "fasternet_s": FasterNetSpec(embed_dim=128, depths=(1, 2, 13, 2), drop_path_rate=0.1),
    "fasternet_m": FasterNetSpec(embed_dim=144, depths=(3, 4, 18, 3), drop_path_rate=0.2),
    "fasternet_l": FasterNetSpec(embed_dim=192, depths=(3, 4, 18, 3), drop_path_rate=0.3),
}

IN1K = Weights(
    crop_pct=1.0,
    test_crop_pct=0.9,
    origin_url="https://github.com/JierunChen/FasterNet",
    paper_name="Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks",
    paper_ids="arXiv:2303.03667",
)

WEIGHTS = {f"{name}.in1k": IN1K for name in VARIANTS}
