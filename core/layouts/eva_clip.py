"""Image towers of EVA-CLIP (https://github.com/baaivision/EVA) with the authors' names; `open_clip` has its own."""

from __future__ import annotations

from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD
from zoo.core.layouts.table import Table, Twins

_EVA = """
cls_token                      visual.cls_token
pos_embed                      visual.pos_embed
patch_embed.proj.*             visual.patch_embed.proj.*
norm.*                         visual.norm.*
head.*                         visual.head.*
-                              visual.rope.*                | dropped it follows from the size of the image
-                              visual.mask_token            | dropped it only served pretraining
-                              text.**                      | dropped the text tower
-                              logit_scale                  | dropped it compares images with texts
-                              logit_bias                   | dropped it compares images with texts
blocks.{i}.                    visual.blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.q_bias                    attn.q_bias
  attn.v_bias                    attn.v_bias
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
blocks.{i}.                    visual.blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.q_proj.weight             attn.q_proj.weight
  attn.q_proj.bias               attn.q_bias
  attn.k_proj.weight             attn.k_proj.weight
  attn.v_proj.weight             attn.v_proj.weight
  attn.v_proj.bias               attn.v_bias
  -                              attn.rope.*                | dropped it follows from the size of the image
  attn.norm.*                    attn.inner_attn_ln.*
  attn.proj.*                    attn.proj.*
  mlp.fc1_g.*                    mlp.w1.*
  mlp.fc1_x.*                    mlp.w2.*
  mlp.norm.*                     mlp.ffn_ln.*
  mlp.fc2.*                      mlp.w3.*
"""

TABLES = (Table("EVA-CLIP", _EVA, (Twins("eva_*_clip_* eva02_*_clip_*"),), CLIP_MEAN, CLIP_STD),)
