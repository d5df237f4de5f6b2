"""Variants of the image encoder of Gemma 4, and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs._encoder import EncoderSpec
from zoo.core.architectures.records import ClassifierInit, Paths, Weights


@dataclass(frozen=True, kw_only=True)
class Gemma4VitSpec(EncoderSpec):
    """One encoder inside a classifier.

    Positions are learned for `position_embedding_size` columns and as many rows. The projector averages squares of
    `pooling_kernel_size` patches on a side, and where `standardize`, each channel is brought to a mean and deviation
    that come with the weights. `use_clipped_linears` clamps what linear layers take and give.
    """

    model_class: ClassVar[str] = "Gemma4Vit"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit()
    projection: ClassVar[str] = "soft"
    embedding: ClassVar[str] = "patch_embed.input_proj"
    choices = {"encoder_pool": ("", "soft")}

    intermediate_size: int
    position_embedding_size: int = 10240
    pooling_kernel_size: int = 3
    standardize: bool = False
    use_clipped_linears: bool = False

    @property
    def input_layout(self) -> str:
        return f"planes:{self.patch_size**2}"  # a linear layer of patches, colour first


@dataclass(frozen=True, kw_only=True)
class Gemma4EncoderSpec(Gemma4VitSpec):
    """The encoder by itself."""

    has_classifier: ClassVar[bool] = False
    classifier: ClassVar[Paths] = None
    global_pool: str = "soft"


M167: dict[str, Any] = {"embed_dim": 768, "depth": 16, "num_heads": 12, "intermediate_size": 3072}
M167 |= {"use_clipped_linears": True}
M570: dict[str, Any] = {"embed_dim": 1152, "depth": 27, "num_heads": 16, "intermediate_size": 4304}
M570 |= {"standardize": True}

VARIANTS = {
    "gemma4_vit_167m": Gemma4VitSpec(**M167),
    "gemma4_vit_167m_enc": Gemma4EncoderSpec(**M167),
    "gemma4_vit_570m": Gemma4VitSpec(**M570),
    "gemma4_vit_570m_enc": Gemma4EncoderSpec(**M570),
}

# Pixels from 0 to 1: the network brings them to -1 to 1 by itself.
GEMMA = Weights(
    input_size=768, min_input_size=96, crop_pct=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), num_classes=0
)

WEIGHTS = {
    "gemma4_vit_167m.gemma4_e4b_it": GEMMA,
    "gemma4_vit_167m_enc.gemma4_e4b_it": GEMMA.but(classifier="head"),
    "gemma4_vit_570m.gemma4_31b_it": GEMMA,
    "gemma4_vit_570m_enc.gemma4_31b_it": GEMMA.but(classifier="head"),
}
