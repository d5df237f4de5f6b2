"""FocalNet variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class FocalNetSpec(Spec):
    """One FocalNet: `embed_dim` channels in the first stage, twice as many in each further one, `depths` blocks.

    A block gathers context on `focal_levels` levels, the kernel of the first being `focal_windows`, in each stage.
    `use_overlap_down` lets patches overlap. `use_post_norm` puts a block's norms behind its branches,
    `use_post_norm_in_modulation` a further one into the modulation. `layerscale_value` starts the scales of the
    branches (None: no scales).
    """

    model_class: ClassVar[str] = "FocalNet"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    embed_dim: int
    depths: tuple[int, ...] = (2, 2, 18, 2)
    mlp_ratio: float = 4
    focal_levels: tuple[int, ...] = (2, 2, 2, 2)
    focal_windows: tuple[int, ...] = (3, 3, 3, 3)
    use_overlap_down: bool = False
    use_post_norm: bool = False
    use_post_norm_in_modulation: bool = False
    layerscale_value: float | None = None

    @property
    def first_conv(self) -> str:
        return "stem.proj"


def large(embed_dim: int, levels: int, window: int = 3, **fields: Any) -> FocalNetSpec:
    return FocalNetSpec(
        embed_dim=embed_dim,
        focal_levels=(levels,) * 4,
        focal_windows=(window,) * 4,
        use_overlap_down=True,
        use_post_norm=True,
        layerscale_value=1e-4,
        **fields,
    )


TINY = (2, 2, 6, 2)
LRF: dict[str, Any] = {"focal_levels": (3, 3, 3, 3)}

# Section 4.1 and table 6 of arXiv:2203.11926.
VARIANTS = {
    "focalnet_tiny_srf": FocalNetSpec(embed_dim=96, depths=TINY),
    "focalnet_small_srf": FocalNetSpec(embed_dim=96),
    "focalnet_base_srf": FocalNetSpec(embed_dim=128),
    "focalnet_tiny_lrf": FocalNetSpec(embed_dim=96, depths=TINY, **LRF),
    "focalnet_small_lrf": FocalNetSpec(embed_dim=96, **LRF),
    "focalnet_base_lrf": FocalNetSpec(embed_dim=128, **LRF),
    "focalnet_large_fl3": large(192, 3, 5),
    "focalnet_large_fl4": large(192, 4),
    "focalnet_xlarge_fl3": large(256, 3, 5),
    "focalnet_xlarge_fl4": large(256, 4),
    "focalnet_huge_fl3": large(352, 3, use_post_norm_in_modulation=True),
    "focalnet_huge_fl4": large(352, 4, use_post_norm_in_modulation=True),
}

PLAIN = Weights(crop_pct=0.9, license="mit")
IN22K = PLAIN.but(num_classes=21842)
LARGER = IN22K.but(input_size=384, crop_pct=1.0)

WEIGHTS = {
    **{f"{name}.ms_in1k": PLAIN for name in VARIANTS if name.endswith("rf")},
    **{f"{name}.ms_in22k": LARGER for name in VARIANTS if "large" in name},
    "focalnet_huge_fl3.ms_in22k": IN22K,
    "focalnet_huge_fl4.ms_in22k": PLAIN.but(num_classes=0),
}
