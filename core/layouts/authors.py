"""Networks in their authors' own repositories, of which no other layout has the names.

ConvNeXt (https://github.com/facebookresearch/ConvNeXt, .../ConvNeXt-V2), EdgeNeXt (https://github.com/mmaaz60/EdgeNeXt),
EVA-02 (https://github.com/baaivision/EVA), Perception Encoder (https://github.com/facebookresearch/perception_models).
"""

from __future__ import annotations

from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD, HALF
from zoo.core.layouts.convnext_rows import CONVNEXT
from zoo.core.layouts.eva_clip import EVA
from zoo.core.layouts.open_clip import TEXT_TOWER
from zoo.core.layouts.table import Shapes, Table, Twins, below

_CONVNEXT = f"""
{CONVNEXT}
head.fc.*                      head.*
"""

_EDGENEXT = CONVNEXT.replace(
    "  conv_dw.* ",
    """  gamma_xca                      gamma_xca
  norm_xca.*                     norm_xca.*
  xca.**                         xca.**
  pos_embd.**                    pos_embd.**
  convs.{k}.*                    convs.{k}.*
  conv_dw.* """,
)
_EDGENEXT += "head.fc.*   head.*"

_EVA_02 = f"""
{EVA}
fc_norm.*                      fc_norm.*
-                              lm_head.*                    | dropped it only served pretraining
"""

_PERCEPTION = """
cls_token                      class_embedding              | batched 2
pos_embed                      positional_embedding         | batched 1
patch_embed.proj.*             conv1.*
norm_pre.*                     ln_pre.*
blocks.{i}.                    transformer.resblocks.{i}.
  gamma_{k}                      ls_{k}.gamma
  norm{k}.*                      ln_{k}.*
  attn.qkv.*                     attn.in_proj_*
  attn.proj.*                    attn.out_proj.*
  -                              attn.rope.**               | dropped it follows from the size of the image
  mlp.fc1.*                      mlp.c_fc.*
  mlp.fc2.*                      mlp.c_proj.*
norm.*                         ln_post.*
attn_pool.latent               attn_pool.probe
attn_pool.q.*&attn_pool.kv.*   attn_pool.attn.in_proj_*     | parts 1 2
attn_pool.proj.*               attn_pool.attn.out_proj.*
attn_pool.norm.*               attn_pool.layernorm.*
attn_pool.mlp.fc1.*            attn_pool.mlp.c_fc.*
attn_pool.mlp.fc2.*            attn_pool.mlp.c_proj.*
head.weight                    proj                         | transpose 1 0
head.bias                      -                            | zeros_per_row head.weight
-                              rope.**                      | dropped it follows from the size of the image
"""


def _is_of_no_dino(shapes: Shapes) -> bool:
    """DINOv3's ConvNeXts have neither a head nor V2's response norms."""
    return any(name in shapes for name in ("head.weight", "stages.0.0.grn.gamma"))


def _attends_to_channels(shapes: Shapes) -> bool:
    return any(name.endswith(".gamma_xca") for name in shapes)


def _ends_with_its_blocks(shapes: Shapes) -> bool:
    """The networks for language and places have no norm behind their blocks, unlike CLIP's."""
    return "norm_pre.weight" in shapes and not any(name in shapes for name in ("norm.weight", "fc_norm.weight"))


def _pools_by_attention(shapes: Shapes) -> bool:
    return "attn_pool.latent" in shapes


TABLES = (
    Table(
        "EdgeNeXt",
        _EDGENEXT,
        (Twins("edgenext_*"),),
        fits=_attends_to_channels,
        fits_theirs=_attends_to_channels,
    ),
    Table("ConvNeXt", _CONVNEXT, (Twins("convnext_* convnextv2_*"),), fits_theirs=_is_of_no_dino),
    Table(
        "EVA-02",
        _EVA_02,
        (Twins("eva02_*"),),
        CLIP_MEAN,
        CLIP_STD,
        fits=lambda shapes: "blocks.0.mlp.fc1_g.weight" in shapes,
        fits_theirs=lambda shapes: "blocks.0.mlp.w1.weight" in shapes,
    ),
    Table(
        "Perception Encoder",
        below("visual.", _PERCEPTION) + TEXT_TOWER,
        (Twins("vit_pe_*"),),
        HALF,
        HALF,
        fits=_pools_by_attention,
        fits_theirs=lambda shapes: "visual.attn_pool.probe" in shapes,
    ),
    Table(
        "Perception Encoder without a text tower",
        _PERCEPTION,
        (Twins("vit_pe_*"),),
        HALF,
        HALF,
        fits=_ends_with_its_blocks,
        fits_theirs=lambda shapes: "conv1.weight" in shapes and "ln_post.weight" not in shapes,
    ),
)
