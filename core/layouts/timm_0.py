"""timm before 1.0 (https://github.com/huggingface/pytorch-image-models): names of networks that it renamed since.

Swin counted the merging of patches to the stage before, and stored what follows from windows. Authors of these networks
publish the same names.
"""

from __future__ import annotations

from zoo.core.layouts.table import Shapes, Table, Twins

_SWIN = """
patch_embed.proj.*             patch_embed.proj.*
patch_embed.norm.*             patch_embed.norm.*
absolute_pos_embed             absolute_pos_embed
layers.{s+1}.downsample.       layers.{s}.downsample.
  norm.*                         norm.*
  reduction.*                    reduction.*
layers.{s}.blocks.{b}.         layers.{s}.blocks.{b}.
  norm{k}.*                      norm{k}.*
  attn.relative_position_bias_table   attn.relative_position_bias_table
  -                              attn.relative_position_index  | window_square attn.relative_position_bias_table
  -                              attn_mask                    | dropped it follows from the window
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
head.fc.*                      head.*
"""

_SWIN_V2 = """
patch_embed.proj.*             patch_embed.proj.*
patch_embed.norm.*             patch_embed.norm.*
layers.{s+1}.downsample.       layers.{s}.downsample.
  norm.*                         norm.*
  reduction.*                    reduction.*
layers.{s}.blocks.{b}.         layers.{s}.blocks.{b}.
  norm{k}.*                      norm{k}.*
  attn.logit_scale               attn.logit_scale
  attn.cpb_mlp.{k}.*             attn.cpb_mlp.{k}.*
  -                              attn.relative_coords_table    | dropped it follows from the window
  -                              attn.relative_position_index  | dropped it follows from the window
  -                              attn_mask                    | dropped it follows from the window
  attn.qkv.*                     attn.qkv.*
  attn.q_bias                    attn.q_bias
  attn.v_bias                    attn.v_bias
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
head.fc.*                      head.*
"""

# DeiT III's authors, whose names timm took over at first.
_DEIT_3 = """
cls_token                      cls_token
pos_embed                      pos_embed
patch_embed.proj.*             patch_embed.proj.*
blocks.{i}.                    blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  ls1.gamma                      gamma_1
  ls2.gamma                      gamma_2
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
head.*                         head.*
"""

# Until 0.6 AugReg's networks of ImageNet-21k had a layer before their classifier.
_VIT = """
cls_token                      cls_token
pos_embed                      pos_embed
patch_embed.proj.*             patch_embed.proj.*
blocks.{i}.                    blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
head.*                         head.*
-                              pre_logits.fc.*              | dropped timm's model has no such layer before its head
"""


def _is_second_version(shapes: Shapes) -> bool:
    return "layers.0.blocks.0.attn.logit_scale" in shapes


def _merges_in_its_first_stage(shapes: Shapes) -> bool:
    return "layers.0.downsample.reduction.weight" in shapes


TABLES = (
    Table(
        "Swin Transformer",
        _SWIN,
        (Twins("swin_*"),),
        fits=lambda shapes: not _is_second_version(shapes),
        fits_theirs=_merges_in_its_first_stage,
    ),
    Table(
        "Swin Transformer V2",
        _SWIN_V2,
        (Twins("swinv2_*"),),
        fits=_is_second_version,
        fits_theirs=_merges_in_its_first_stage,
    ),
    Table("DeiT III", _DEIT_3, (Twins("deit3_*"),), fits=lambda shapes: "blocks.0.ls1.gamma" in shapes),
    Table(
        "Vision Transformer with a layer before its head",
        _VIT,
        (Twins("vit_*"),),
        fits=lambda _: False,
        fits_theirs=lambda shapes: "pre_logits.fc.weight" in shapes,
    ),
)
