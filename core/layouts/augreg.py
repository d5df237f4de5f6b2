"""AugReg's and the original authors' arrays (https://github.com/google-research/vision_transformer).

They differ from big_vision's in how submodules are numbered: over all classes, not by class.
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
