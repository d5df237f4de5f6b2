"""Image encoders of SAM 2 and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class HieraDetSpec(Spec):
    """One encoder: channels and heads of the first stage, which double in each further one, and the stages' depths.

    `window_spec` is the side of the windows of each stage, `global_att_blocks` are the blocks that attend to the whole
    map instead. `global_pos_size` is the (rows, columns) of the position embedding that is resampled to the map;
    `init_values` the initial layer scale, 0 for none.
    """

    model_class: ClassVar[str] = "HieraDet"
    classifier: ClassVar[str | tuple[str, ...]] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.0)

    embed_dim: int = 96
    num_heads: int = 1
    stages: tuple[int, ...]
    global_att_blocks: tuple[int, ...]
    window_spec: tuple[int, ...] = (8, 4, 14, 7)
    global_pos_size: tuple[int, int] = (7, 7)
    init_values: float = 0.0

    @property
    def first_conv(self) -> str:
        return "patch_embed.proj"


WINDOWS_16 = (8, 4, 16, 8)

# Table 12 of arXiv:2408.00714.
VARIANTS = {
    "sam2_hiera_tiny": HieraDetSpec(stages=(1, 2, 7, 2), global_att_blocks=(5, 7, 9)),
    "sam2_hiera_small": HieraDetSpec(stages=(1, 2, 11, 2), global_att_blocks=(7, 10, 13)),
    "sam2_hiera_base_plus": HieraDetSpec(
        embed_dim=112, num_heads=2, stages=(2, 3, 16, 3), global_att_blocks=(12, 16, 20), global_pos_size=(14, 14)
    ),
    "sam2_hiera_large": HieraDetSpec(
        embed_dim=144, num_heads=2, stages=(2, 6, 36, 4), global_att_blocks=(23, 33, 43), window_spec=WINDOWS_16
    ),
    "hieradet_small": HieraDetSpec(
        stages=(1, 2, 11, 2), global_att_blocks=(7, 10, 13), window_spec=WINDOWS_16, init_values=1e-5
    ),
}

SAM = Weights(input_size=896, min_input_size=224, crop_pct=1.0, num_classes=0)
SAM_LARGE = SAM.but(input_size=1024, min_input_size=256)

WEIGHTS = {
    "sam2_hiera_tiny.fb_r896": SAM,
    "sam2_hiera_tiny.fb_r896_2pt1": SAM,
    "sam2_hiera_small.fb_r896": SAM,
    "sam2_hiera_small.fb_r896_2pt1": SAM,
    "sam2_hiera_base_plus.fb_r896": SAM,
    "sam2_hiera_base_plus.fb_r896_2pt1": SAM,
    "sam2_hiera_large.fb_r1024": SAM_LARGE,
    "sam2_hiera_large.fb_r1024_2pt1": SAM_LARGE,
    "hieradet_small.untrained": SAM.but(hub_id="", input_size=256, num_classes=1000),
}
