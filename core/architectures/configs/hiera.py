"""Hiera variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class HieraSpec(Spec):
    """One Hiera: channels and heads of the first stage, which double in each further one, and the stages' depths.

    `abs_win_pos_embed` has two position embeddings (arXiv:2311.05613): one that repeats in each mask unit, and one of
    `global_pos_size` (rows, columns) that is resampled to the map. `use_expand_proj` widens the shortcut by a layer,
    not by maximum and average side by side; `init_values` is the initial layer scale, 0 for none; `weight_init` is ""
    or "jax". `img_size` is the side of the images, or their (height, width): whole mask units of 32 pixels.
    """

    model_class: ClassVar[str] = "Hiera"
    classifier: ClassVar[str | tuple[str, ...]] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.0)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(SizedTensors("pos_embed", "tokens_if_sized", arguments=(("stride", 4),)),)
    )

    choices = {"weight_init": ("", "jax")}

    embed_dim: int = 96
    num_heads: int = 1
    stages: tuple[int, ...]
    img_size: int | tuple[int, int] = 224
    mlp_ratio: float = 4.0
    abs_win_pos_embed: bool = False
    global_pos_size: tuple[int, int] = (14, 14)
    use_expand_proj: bool = True
    init_values: float = 0.0
    weight_init: str = ""

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj"


def abswin(stages: tuple[int, ...], side: int, use_expand_proj: bool) -> HieraSpec:
    return HieraSpec(
        stages=stages,
        abs_win_pos_embed=True,
        global_pos_size=(side, side),
        use_expand_proj=use_expand_proj,
        init_values=1e-5,
        weight_init="jax",
    )


# Table 2 of arXiv:2306.00989.
VARIANTS = {
    "hiera_tiny_224": HieraSpec(stages=(1, 2, 7, 2)),
    "hiera_small_224": HieraSpec(stages=(1, 2, 11, 2)),
    "hiera_base_224": HieraSpec(stages=(2, 3, 16, 3)),
    "hiera_base_plus_224": HieraSpec(embed_dim=112, num_heads=2, stages=(2, 3, 16, 3)),
    "hiera_large_224": HieraSpec(embed_dim=144, num_heads=2, stages=(2, 6, 36, 4)),
    "hiera_huge_224": HieraSpec(embed_dim=256, num_heads=4, stages=(2, 6, 36, 4)),
    "hiera_small_abswin_256": abswin((1, 2, 11, 2), 16, use_expand_proj=False),
    "hiera_base_abswin_256": abswin((2, 3, 16, 3), 14, use_expand_proj=True),
}

META = Weights(crop_pct=0.9, fixed_input_size=True, license="cc-by-nc-4.0")
ABSWIN = Weights(input_size=256, crop_pct=0.95, fixed_input_size=True)
ABSWIN_12K = ABSWIN.but(num_classes=11821)

WEIGHTS = {
    **{f"{name}.mae_in1k_ft_in1k": META for name in VARIANTS if name.endswith("_224")},
    **{f"{name}.mae": META.but(num_classes=0) for name in VARIANTS if name.endswith("_224")},
    "hiera_small_abswin_256.sbb2_e200_in12k_ft_in1k": ABSWIN,
    "hiera_small_abswin_256.sbb2_pd_e200_in12k_ft_in1k": ABSWIN,
    "hiera_small_abswin_256.sbb2_e200_in12k": ABSWIN_12K,
    "hiera_small_abswin_256.sbb2_pd_e200_in12k": ABSWIN_12K,
    "hiera_base_abswin_256.untrained": ABSWIN.but(hub_id=""),
}
