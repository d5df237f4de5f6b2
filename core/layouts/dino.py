"""DINO (https://github.com/facebookresearch/dino) and DINOv2 (https://github.com/facebookresearch/dinov2).

DINO's published trunks already have timm's keys. timm adds the position of the class token to the token when it loads
DINOv2 with registers. No renaming undoes that, so it is not in these tables.
"""

from __future__ import annotations

from zoo.core.layouts.table import Shapes, Table, Twins

_DINO = """
cls_token                      backbone.cls_token
pos_embed                      backbone.pos_embed
patch_embed.proj.*             backbone.patch_embed.proj.*
blocks.{i}.                    backbone.blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         backbone.norm.*
-                              head.**                      | dropped the projection of pretraining
"""

_DINOV2 = """
cls_token                      cls_token
pos_embed                      pos_embed
patch_embed.proj.*             patch_embed.proj.*
blocks.{i}.                    blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  ls{k}.gamma                    ls{k}.gamma
  mlp.fc1.*                      mlp.FC1.*
  mlp.fc2.*                      mlp.FC2.*
norm.*                         norm.*
-                              mask_token                   | dropped it only served pretraining
"""


def with_mlp(rows: str, fc1: str, fc2: str) -> str:
    """A table with these names for the layers of its MLPs."""
    return rows.replace("FC1", fc1).replace("FC2", fc2)


def has_plain_mlp(shapes: Shapes) -> bool:
    """Whether the MLPs, in timm's layout, are two plain layers: the first layer of a gated MLP also holds the gate."""
    hidden, output = (shapes.get(f"blocks.0.mlp.{name}.weight", (0, 0)) for name in ("fc1", "fc2"))
    return hidden[0] == output[-1]


TABLES = (
    Table("DINO", _DINO, (Twins("vit_*"),)),
    Table("DINOv2", with_mlp(_DINOV2, "fc1", "fc2"), (Twins("vit_*_dinov2"),), fits=has_plain_mlp),
    Table("DINOv2 with SwiGLU", with_mlp(_DINOV2, "w12", "w3"), (Twins("vit_*_dinov2"),)),
)
