"""Masked autoencoders (https://github.com/facebookresearch/mae).

The encoder has timm's keys; the decoder is dropped.
"""

from __future__ import annotations

from zoo.core.layouts.table import Table, Twins

_MAE = """
cls_token                      cls_token
pos_embed                      pos_embed
patch_embed.proj.*             patch_embed.proj.*
blocks.{i}.                    blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
-                              mask_token                   | dropped it only served pretraining
-                              decoder_**                   | dropped the decoder of pretraining
"""

TABLES = (Table("MAE", _MAE, (Twins("vit_*"),)),)
