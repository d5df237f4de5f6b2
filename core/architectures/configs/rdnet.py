"""RDNet variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class RDNetSpec(Spec):
    """One RDNet.

    `growth_rates` has a tuple for each resolution, and in it a growth rate for each dense stage, which are
    `stage_depth` blocks that each add so many maps. Between two stages `compression` of the channels are left. The
    blocks have channel attention from the third resolution on. `expansion` is the hidden width of a block against its
    input, `ls_init_value` is where its scale starts. With `head_norm_first` the last norm is before the pooling.
    """

    model_class: ClassVar[str] = "RDNet"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("inputs")

    num_init_features: int
    growth_rates: tuple[tuple[int, ...], ...]
    stage_depth: int = 3
    expansion: float = 4.0
    compression: float = 0.5
    ls_init_value: float = 1e-6
    head_norm_first: bool = False
    act_layer: str = "gelu"
    norm_layer: str = "layernorm"

    @property
    def first_conv(self) -> str:
        return "stem.0"


# Table 7 of arXiv:2403.19588.
VARIANTS = {
    "rdnet_tiny": RDNetSpec(num_init_features=64, growth_rates=((64,), (104,), (128,) * 4, (224,))),
    "rdnet_small": RDNetSpec(num_init_features=72, growth_rates=((64,), (128,), (128,) * 7, (240,) * 2)),
    "rdnet_base": RDNetSpec(num_init_features=120, growth_rates=((96,), (128,), (168,) * 7, (336,) * 2)),
    "rdnet_large": RDNetSpec(num_init_features=144, growth_rates=((128,), (192,), (256,) * 8, (360,) * 2)),
}

NV = Weights(
    crop_pct=0.9,
    origin_url="https://github.com/naver-ai/rdnet",
    paper_name="DenseNets Reloaded: Paradigm Shift Beyond ResNets and ViTs",
    paper_ids="arXiv:2403.19588",
)
LARGE_384 = "rdnet_large.nv_in1k_ft_in1k_384"

WEIGHTS = {
    **{f"{name}.nv_in1k": NV.but(hub_id=f"naver-ai/{name}.nv_in1k") for name in VARIANTS},
    LARGE_384: NV.but(hub_id=f"naver-ai/{LARGE_384}", input_size=384, crop_pct=1.0),
}
