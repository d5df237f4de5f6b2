"""Image towers of CLIP, with the names of OpenAI and open_clip (https://github.com/mlfoundations/open_clip).

The projection into the text space becomes timm's classifier.
"""

from __future__ import annotations

from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD, HALF
from zoo.core.layouts.table import Shapes, Table, Twins

TEXT_TOWER = """
-                              transformer.**               | dropped the text tower
-                              token_embedding.*            | dropped the text tower
-                              positional_embedding         | dropped the text tower
-                              ln_final.*                   | dropped the text tower
-                              text_projection              | dropped the text tower
-                              text.**                      | dropped the text tower
-                              logit_scale                  | dropped it compares images with texts
-                              logit_bias                   | dropped it compares images with texts
"""

_VIT = f"""
cls_token                      visual.class_embedding         | batched 2
pos_embed                      visual.positional_embedding    | batched 1
patch_embed.proj.*             visual.conv1.*
norm_pre.*                     visual.ln_pre.*
blocks.{{i}}.                  visual.transformer.resblocks.{{i}}.
  norm1.*                        ln_1.*
  attn.qkv.*                     attn.in_proj_*
  attn.proj.*                    attn.out_proj.*
  norm2.*                        ln_2.*
  mlp.fc1.*                      mlp.c_fc.*
  mlp.fc2.*                      mlp.c_proj.*
norm.*                         visual.ln_post.*
head.weight                    visual.proj                    | transpose 1 0
head.bias                      -                              | zeros_per_row head.weight
{TEXT_TOWER}
"""

_RESNET = f"""
stem.conv{{k}}.conv.*          visual.conv{{k}}.*
stem.conv{{k}}.bn.*            visual.bn{{k}}.*
stages.{{s}}.{{b}}.            visual.layer{{s+1}}.{{b}}.
  shortcut.conv.conv.*           downsample.0.*
  shortcut.conv.bn.*             downsample.1.*
  conv1_1x1.conv.*               conv1.*
  conv1_1x1.bn.*                 bn1.*
  conv2_kxk.conv.*               conv2.*
  conv2_kxk.bn.*                 bn2.*
  conv3_1x1.conv.*               conv3.*
  conv3_1x1.bn.*                 bn3.*
head.pos_embed                 visual.attnpool.positional_embedding
head.q.*                       visual.attnpool.q_proj.*
head.k.*                       visual.attnpool.k_proj.*
head.v.*                       visual.attnpool.v_proj.*
head.proj.*                    visual.attnpool.c_proj.*
{TEXT_TOWER}
"""

# Towers that open_clip builds with timm.
_TRUNK = f"""
stem.**                        visual.trunk.stem.**
stages.**                      visual.trunk.stages.**
head.norm.*                    visual.trunk.head.norm.*
head.fc.weight                 visual.head.proj.weight
head.fc.bias                   -                              | zeros_per_row head.fc.weight
{TEXT_TOWER}
"""

_TRUNK_WITH_MLP = f"""
stem.**                        visual.trunk.stem.**
stages.**                      visual.trunk.stages.**
head.norm.*                    visual.trunk.head.norm.*
head.pre_logits.fc.*           visual.head.mlp.fc1.*
head.fc.weight                 visual.head.mlp.fc2.weight
head.fc.bias                   -                              | zeros_per_row head.fc.weight
{TEXT_TOWER}
"""

# Towers of timm that pool and project themselves: SigLIP's and EVA's.
_WHOLE_TRUNK = f"""
**                             visual.trunk.**
{TEXT_TOWER}
"""

_NOTE = "the file does not say its activation: OpenAI's models compute quick GELU, most others GELU; see --arch"

_CONVNEXTS = (Twins("convnext_*"),)


def _projects_twice(shapes: Shapes) -> bool:
    return "head.pre_logits.fc.weight" in shapes


TABLES = (
    Table("CLIP ViT", _VIT, (Twins("vit_*_clip_quickgelu_* vit_*_clip_*"),), CLIP_MEAN, CLIP_STD, _NOTE),
    Table("CLIP ResNet", _RESNET, (Twins("resnet*_clip"),), CLIP_MEAN, CLIP_STD),
    Table("CLIP ConvNeXt", _TRUNK, _CONVNEXTS, CLIP_MEAN, CLIP_STD, fits=lambda shapes: not _projects_twice(shapes)),
    Table("CLIP ConvNeXt with an MLP", _TRUNK_WITH_MLP, _CONVNEXTS, CLIP_MEAN, CLIP_STD, fits=_projects_twice),
    Table(
        "SigLIP of timm",
        _WHOLE_TRUNK,
        (Twins("vit_*_siglip_*"),),
        HALF,
        HALF,
        fits=lambda shapes: "attn_pool.latent" in shapes,
    ),
    Table("a tower of timm", _WHOLE_TRUNK, (Twins("eva*_clip_* *"),), CLIP_MEAN, CLIP_STD),
)
