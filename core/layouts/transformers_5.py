"""Hugging Face transformers from version 5 on, as its models in memory name the tensors (`model.state_dict()`).

Only where they differ from those that its files keep, which `transformers` has.
"""

from __future__ import annotations

from zoo.core.layouts.dino import has_plain_mlp
from zoo.core.layouts.table import Table, Twins
from zoo.core.layouts.transformers import (
    DEIT_TWINS,
    DINOV2_HEAD,
    DINOV2_TWINS,
    DISTILLED_HEADS,
    EMBEDDINGS,
    POOLER,
    VIT_TWINS,
    head,
    in_trunk,
)
from zoo.core.records import HALF

_ATTENTION = """
  attn.qkv.*                     attention.q_proj.* attention.k_proj.* attention.v_proj.*
  attn.proj.*                    attention.o_proj.*
"""

_NORMS_AND_MLP = """
  norm1.*                        layernorm_before.*
  norm2.*                        layernorm_after.*
  mlp.fc{k}.*                    mlp.fc{k}.*
"""

_VIT = f"""
{EMBEDDINGS}
blocks.{{i}}.                    ^layers.{{i}}.
{_ATTENTION}
{_NORMS_AND_MLP}
{POOLER}
"""

_DEIT = f"""
dist_token                     ^embeddings.distillation_token
{_VIT}
"""

_DINOV2 = f"""
{EMBEDDINGS}
blocks.{{i}}.                    ^encoder.layer.{{i}}.
{_ATTENTION}
  norm1.*                        norm1.*
  norm2.*                        norm2.*
  ls1.gamma                      layer_scale1.lambda1
  ls2.gamma                      layer_scale2.lambda1
"""

_PLAIN = f"""
{_DINOV2}
  mlp.fc{{k}}.*                    mlp.fc{{k}}.*
"""

_GATED = f"""
{_DINOV2}
  mlp.fc1.*                      mlp.gate_proj.* mlp.up_proj.*
  mlp.fc2.*                      mlp.down_proj.*
"""

_SWIN = f"""
patch_embed.proj.*             ^embeddings.patch_embeddings.projection.*
patch_embed.norm.*             ^embeddings.norm.*
layers.{{s+1}}.downsample.     ^encoder.layers.{{s}}.downsample.
  norm.*                         norm.*
  reduction.*                    reduction.*
layers.{{s}}.blocks.{{b}}.     ^encoder.layers.{{s}}.blocks.{{b}}.
{_ATTENTION}
  attn.relative_position_bias_table   attention.relative_position_bias.relative_position_bias_table
{_NORMS_AND_MLP}
norm.*                         ^layernorm.*
-                              ^embeddings.mask_token       | dropped it only served pretraining
"""

# A trunk alone stands before the same with its head: weights without a head are written as the trunk.
TABLES = (
    Table("ViT", in_trunk("", _VIT), VIT_TWINS, HALF, HALF),
    Table("ViT", in_trunk("vit.", _VIT) + head("head"), VIT_TWINS, HALF, HALF),
    Table("DeiT", in_trunk("", _DEIT), DEIT_TWINS),
    Table("DeiT", in_trunk("deit.", _DEIT) + DISTILLED_HEADS, DEIT_TWINS),
    Table("DINOv2", in_trunk("", _PLAIN), DINOV2_TWINS, fits=has_plain_mlp),
    Table("DINOv2", in_trunk("dinov2.", _PLAIN) + DINOV2_HEAD, DINOV2_TWINS, fits=has_plain_mlp),
    Table("DINOv2 with SwiGLU", in_trunk("", _GATED), DINOV2_TWINS),
    Table("DINOv2 with SwiGLU", in_trunk("dinov2.", _GATED) + DINOV2_HEAD, DINOV2_TWINS),
    Table("Swin Transformer", in_trunk("", _SWIN), (Twins("swin_*"),)),
    Table("Swin Transformer", in_trunk("swin.", _SWIN) + head("head.fc"), (Twins("swin_*"),)),
)
