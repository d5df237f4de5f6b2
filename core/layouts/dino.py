"""DINO (https://github.com/facebookresearch/dino), and DINOv2 and DINOv3 in the repositories of the same name.

DINO's published trunks already have timm's keys. timm adds the position of the class token to the token in DINOv2 with
registers, which does not come back.
"""

from __future__ import annotations

from zoo.core.layouts.convnext_rows import CONVNEXT
from zoo.core.layouts.table import Shapes, Table, Twins, below
from zoo.core.layouts.vit_rows import TRUNK

_PROJECTION = """
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

_REGISTERS = _DINOV2.replace(
    """cls_token                      cls_token
pos_embed                      pos_embed
""",
    """cls_token&pos_embed            cls_token pos_embed          | class_position
reg_token                      register_tokens
""",
)

_DINOV3 = """
cls_token                      cls_token
reg_token                      storage_tokens
patch_embed.proj.*             patch_embed.proj.*
blocks.{i}.                    blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.weight                attn.qkv.weight
  attn.q_bias&attn.v_bias        attn.qkv.bias                | outer_thirds
  -                              attn.qkv.bias_mask           | key_mask attn.qkv.bias
  attn.proj.*                    attn.proj.*
  gamma_{k}                      ls{k}.gamma
MLP
norm.*                         norm.*
-                              mask_token                   | dropped it only served pretraining
-                              local_cls_norm.*             | dropped it only served pretraining
-                              rope_embed.periods           | dropped it follows from the width of a head
"""

_DINOV3_MLP = """
  mlp.fc{k}.*                    mlp.fc{k}.*
"""

_DINOV3_SWIGLU = """
  mlp.fc1_g.*                    mlp.w1.*
  mlp.fc1_x.*                    mlp.w2.*
  mlp.fc2.*                      mlp.w3.*
"""

_CONVNEXT = f"""
{CONVNEXT}
-                              norms.3.*                    | dropped it is the last norm once more
"""


def with_mlp(rows: str, fc1: str, fc2: str) -> str:
    """A table with these names for the layers of its MLPs."""
    return rows.replace("FC1", fc1).replace("FC2", fc2)


def has_plain_mlp(shapes: Shapes) -> bool:
    """Whether the MLPs, in timm's layout, are two plain layers: the first layer of a gated MLP also holds the gate."""
    hidden, output = (shapes.get(f"blocks.0.mlp.{name}.weight", (0, 0)) for name in ("fc1", "fc2"))
    return hidden[0] == output[-1]


def has_registers(shapes: Shapes) -> bool:
    """Whether there are tokens beside the class token and the patches."""
    return "reg_token" in shapes


def _has_storage(shapes: Shapes) -> bool:
    return "storage_tokens" in shapes


_DINOV3_TWINS = (Twins("vit_*_dinov3_qkvb vit_*_dinov3"),)
_REGISTER_TWINS = (Twins("vit_*_reg4_dinov2"),)

TABLES = (
    Table("DINO", below("backbone.", TRUNK) + _PROJECTION, (Twins("vit_*"),)),
    Table("DINOv2", with_mlp(_DINOV2, "fc1", "fc2"), (Twins("vit_*_dinov2"),), fits=has_plain_mlp),
    Table("DINOv2 with SwiGLU", with_mlp(_DINOV2, "w12", "w3"), (Twins("vit_*_dinov2"),)),
    Table("DINOv2 with registers", with_mlp(_REGISTERS, "fc1", "fc2"), _REGISTER_TWINS, fits=has_registers),
    Table("DINOv2 with registers and SwiGLU", with_mlp(_REGISTERS, "w12", "w3"), _REGISTER_TWINS, fits=has_registers),
    Table("DINOv3", _DINOV3.replace("MLP", _DINOV3_MLP), _DINOV3_TWINS, fits_theirs=_has_storage),
    Table("DINOv3 with SwiGLU", _DINOV3.replace("MLP", _DINOV3_SWIGLU), _DINOV3_TWINS, fits_theirs=_has_storage),
    Table("DINOv3 ConvNeXt", _CONVNEXT, (Twins("convnext_*"),)),
)
