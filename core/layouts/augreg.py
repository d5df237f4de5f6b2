"""Arrays of AugReg and of the original authors (https://github.com/google-research/vision_transformer).

They number submodules across all classes, unlike big_vision, which numbers them per class.
"""

from __future__ import annotations

from zoo.core.layouts.big_vision import VIT, vit_table

_MODULES = {
    "POSITIONS": "Transformer/posembed_input/pos_embedding",
    "ATTENTION": "MultiHeadDotProductAttention_1",
    "NORM2": "LayerNorm_2",
    "MLP": "MlpBlock_3",
}

TABLES = (vit_table("ViT", VIT, "", _MODULES, lambda _: True),)
