"""PoolFormer, ConvFormer and CAFormer variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights

MIXERS = ("pool", "conv", "attention")


@dataclass(frozen=True, kw_only=True)
class MetaFormerSpec(Spec):
    """One MetaFormer: blocks and channels of each stage, and what mixes the positions in it.

    `token_mixers` are names of MIXERS. `norm_layer` is that of maps, "groupnorm1" or "layernorm"; attention has layer
    norms. `norm_bias`, `mlp_bias`, `mlp_act`: of the blocks' norms and perceptrons. `downsample_norm` says whether stem
    and downsampling have a norm. `ls_init_value` starts the scales of the branches (None: no scales),
    `res_scale_init_values` those of the shortcuts in each stage. `use_mlp_head` puts a hidden layer before the
    classifier.
    """

    model_class: ClassVar[str] = "MetaFormer"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    choices = {"norm_layer": ("groupnorm1", "layernorm")}

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    token_mixers: tuple[str, ...] = ("pool",) * 4
    norm_layer: str = "groupnorm1"
    norm_bias: bool = False
    mlp_act: str = "star_relu"
    mlp_bias: bool = False
    downsample_norm: bool = True
    ls_init_value: float | None = None
    res_scale_init_values: tuple[float | None, ...] = (None, None, 1.0, 1.0)
    use_mlp_head: bool = False

    @property
    def first_conv(self) -> str:
        return "stem.conv"

    @property
    def classifier(self) -> str:  # type: ignore[override]  # it depends on the variant here
        return "head.fc.fc2" if self.use_mlp_head else "head.fc"


def poolformer(depths: tuple[int, ...], dims: tuple[int, ...], ls_init_value: float = 1e-6) -> MetaFormerSpec:
    return MetaFormerSpec(
        depths=depths,
        dims=dims,
        norm_bias=True,
        mlp_act="gelu",
        mlp_bias=True,
        downsample_norm=False,
        ls_init_value=ls_init_value,
        res_scale_init_values=(None,) * 4,
    )


SMALL, MEDIUM = (64, 128, 320, 512), (96, 192, 384, 768)
S12, S24, S36, M48 = (2, 2, 6, 2), (4, 4, 12, 4), (6, 6, 18, 6), (8, 8, 24, 8)

# Table 1 of arXiv:2111.11418.
POOLFORMERS = {
    "poolformer_s12": poolformer(S12, SMALL, 1e-5),
    "poolformer_s24": poolformer(S24, SMALL, 1e-5),
    "poolformer_s36": poolformer(S36, SMALL),
    "poolformer_m36": poolformer(S36, MEDIUM),
    "poolformer_m48": poolformer(M48, MEDIUM),
}
POOLFORMERS_V2 = {
    name.replace("_", "v2_"): MetaFormerSpec(depths=spec.depths, dims=spec.dims) for name, spec in POOLFORMERS.items()
}

# Table 2 of arXiv:2210.13452.
SIZES = {
    "s18": ((3, 3, 9, 3), SMALL),
    "s36": ((3, 12, 18, 3), SMALL),
    "m36": ((3, 12, 18, 3), (96, 192, 384, 576)),
    "b36": ((3, 12, 18, 3), (128, 256, 512, 768)),
}
STYLES: dict[str, dict[str, Any]] = {
    "convformer": {"token_mixers": ("conv",) * 4},
    "caformer": {"token_mixers": ("conv", "conv", "attention", "attention")},
}
FORMERS = {
    f"{style}_{size}": MetaFormerSpec(depths=depths, dims=dims, norm_layer="layernorm", use_mlp_head=True, **fields)
    for style, fields in STYLES.items()
    for size, (depths, dims) in SIZES.items()
}
VARIANTS = POOLFORMERS | POOLFORMERS_V2 | FORMERS

PLAIN = Weights(crop_pct=1.0)
LARGER = PLAIN.but(input_size=384)
TAGS = {
    "sail_in1k": PLAIN,
    "sail_in1k_384": LARGER,
    "sail_in22k_ft_in1k": PLAIN,
    "sail_in22k_ft_in1k_384": LARGER,
    "sail_in22k": PLAIN.but(num_classes=21841),
}
WEIGHTS = {
    **{f"{name}.sail_in1k": PLAIN.but(crop_pct=0.95 if "_m" in name else 0.9) for name in POOLFORMERS},
    **{f"{name}.sail_in1k": PLAIN for name in POOLFORMERS_V2},
    **{f"{name}.{tag}": row for name in FORMERS for tag, row in TAGS.items()},
}
