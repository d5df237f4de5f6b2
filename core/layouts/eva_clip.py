"""Image towers of EVA-CLIP (https://github.com/baaivision/EVA) with the authors' names; `open_clip` has its own."""

from __future__ import annotations

from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD
from zoo.core.layouts.table import Table, Twins, below

EVA = """
cls_token                      cls_token
pos_embed                      pos_embed
patch_embed.proj.*             patch_embed.proj.*
norm.*                         norm.*
head.*                         head.*
-                              rope.*                       | dropped it follows from the size of the image
-                              mask_token                   | dropped it only served pretraining
blocks.{i}.                    blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.q_bias                    attn.q_bias
  attn.v_bias                    attn.v_bias
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
blocks.{i}.                    blocks.{i}.
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
"""A tower or a network of its own."""

_TEXTS = """
-                              text.**                      | dropped the text tower
-                              logit_scale                  | dropped it compares images with texts
-                              logit_bias                   | dropped it compares images with texts
"""

TABLES = (
    Table("EVA-CLIP", below("visual.", EVA) + _TEXTS, (Twins("eva_*_clip_* eva02_*_clip_*"),), CLIP_MEAN, CLIP_STD),
)
