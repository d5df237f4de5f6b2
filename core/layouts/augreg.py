"""Arrays of AugReg and of the original authors (https://github.com/google-research/vision_transformer).

They number submodules across all classes, unlike big_vision, which numbers them per class. Hybrids read the map of a
BiT-ResNet, whose layers have names of their own (https://arxiv.org/abs/2010.11929, section 3.1).
"""

from __future__ import annotations

from zoo.core.layouts.big_vision import VIT, vit_table
from zoo.core.layouts.table import Shapes

_MODULES = {
    "POSITIONS": "Transformer/posembed_input/pos_embedding",
    "ATTENTION": "MultiHeadDotProductAttention_1",
    "NORM2": "LayerNorm_2",
    "MLP": "MlpBlock_3",
}


def _norm(timm: str, theirs: str) -> str:
    return f"""
  {timm}.weight                  {theirs}/scale                | led 3
  {timm}.bias                    {theirs}/bias                 | led 3
"""


_ROOT = """
patch_embed.backbone.STEMconv.weight   ^conv_root/kernel       | transpose 3 2 0 1
patch_embed.backbone.STEMnorm.         ^gn_root/
  weight                         scale                         | led 3
  bias                           bias                          | led 3
"""

_STAGES = f"""
patch_embed.backbone.stages.{{s}}.blocks.{{b}}.   ^block{{s+1}}/unit{{b+1:02}}/
  downsample.conv.weight         conv_proj/kernel              | transpose 3 2 0 1
{_norm("downsample.norm", "gn_proj")}
  conv{{k}}.weight                 conv{{k}}/kernel                | transpose 3 2 0 1
{_norm("norm{k}", "gn{k}")}
"""


def _has_stages(shapes: Shapes) -> bool:
    return "patch_embed.backbone.stages.0.blocks.0.conv1.weight" in shapes


def _has_root(shapes: Shapes) -> bool:
    return "patch_embed.backbone.conv.weight" in shapes


TABLES = (
    vit_table("ViT", VIT, "", _MODULES, lambda shapes: not _has_stages(shapes) and not _has_root(shapes)),
    vit_table("ViT over a ResNet", VIT + _ROOT.replace("STEM", "stem.") + _STAGES, "", _MODULES, _has_stages)._replace(
        fits_theirs=lambda shapes: "block1/unit01/conv1/kernel" in shapes
    ),
    vit_table("ViT over a convolution", VIT + _ROOT.replace("STEM", ""), "", _MODULES, _has_root),
    vit_table("ViT in the state of an optimizer", VIT, "opt/target/", _MODULES, lambda _: False),
)
