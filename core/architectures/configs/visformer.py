"""Visformer variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class VisformerSpec(Spec):
    """One Visformer: `embed_dim` channels in the second stage, half in the first, twice in the third.

    `depth` are the blocks of the stages, `group` the groups of the convolutions in the first. `img_size` is the side
    of the images, or their (height, width).
    """

    model_class: ClassVar[str] = "Visformer"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    sizes: ClassVar[SizeFacts] = SizeFacts(tensors=(SizedTensors(r"pos_embed\d", "channels_first_map"),))

    init_channels: int
    embed_dim: int
    num_heads: int
    depth: tuple[int, ...] = (7, 4, 4)
    mlp_ratio: float = 4.0
    group: int = 8
    img_size: int | tuple[int, int] = 224

    @property
    def first_conv(self) -> str:
        return "stem.0"


# Table 7 of arXiv:2104.12533.
VARIANTS = {
    "visformer_tiny": VisformerSpec(init_channels=16, embed_dim=192, num_heads=3),
    "visformer_small": VisformerSpec(init_channels=32, embed_dim=384, num_heads=6),
}

WEIGHTS = {f"{name}.in1k": Weights(crop_pct=0.9, fixed_input_size=True) for name in VARIANTS}
