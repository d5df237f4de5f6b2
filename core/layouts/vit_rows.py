"""The rows of a vision transformer whose authors gave its layers the names that timm has."""

from __future__ import annotations

BLOCKS = """
blocks.{i}.                    blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
"""

TRUNK = f"""
cls_token                      cls_token
pos_embed                      pos_embed
patch_embed.proj.*             patch_embed.proj.*
{BLOCKS}
"""
