"""MMPretrain (https://github.com/open-mmlab/mmpretrain), formerly MMClassification: backbones, and classifiers' heads.

The backbone of a checkpoint begins with `backbone.`; a backbone saved alone has no prefix. Swin's merging of patches
orders the four neighbours of a channel as `nn.Unfold` does, not as the authors of Swin do.
"""

from __future__ import annotations

from zoo.core.layouts.table import Shapes, Table, Twins, below

RESNET = """
conv1.*                        conv1.*
bn1.*                          bn1.*
layer{s}.{b}.                  layer{s}.{b}.
  conv{k}.*                      conv{k}.*
  bn{k}.*                        bn{k}.*
  downsample.{k}.*               downsample.{k}.*
"""

DEEP_STEM = RESNET.replace(
    "conv1.*                        conv1.*\nbn1.*                          bn1.*",
    "bn1.*                          stem.7.*\nconv1.{k}.*                    stem.{k}.*",
)

VIT = """
cls_token                      cls_token
dist_token                     dist_token
pos_embed                      pos_embed
patch_embed.proj.*             patch_embed.projection.*
norm_pre.*                     pre_norm.*
blocks.{i}.                    layers.{i}.
  norm{k}.*                      ln{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  ls1.gamma                      attn.gamma1.weight
  mlp.fc1.*                      ffn.layers.0.0.*
  mlp.fc2.*                      ffn.layers.1.*
  ls2.gamma                      ffn.gamma2.weight
norm.*                         ln1.*
"""

SWIN = """
patch_embed.proj.*             patch_embed.projection.*
patch_embed.norm.*             patch_embed.norm.*
layers.{s+1}.downsample.       stages.{s}.downsample.
  norm.*                         norm.*                      | unfold_order
  reduction.*                    reduction.*                 | unfold_order
layers.{s}.blocks.{b}.         stages.{s}.blocks.{b}.
  norm{k}.*                      norm{k}.*
  attn.relative_position_bias_table   attn.w_msa.relative_position_bias_table
  -        attn.w_msa.relative_position_index  | window_square attn.w_msa.relative_position_bias_table
  attn.qkv.*                     attn.w_msa.qkv.*
  attn.proj.*                    attn.w_msa.proj.*
  mlp.fc1.*                      ffn.layers.0.0.*
  mlp.fc2.*                      ffn.layers.1.*
norm.*                         norm3.*
"""

SWIN_V2 = """
patch_embed.proj.*             patch_embed.projection.*
patch_embed.norm.*             patch_embed.norm.*
layers.{s}.downsample.         stages.{s}.downsample.
  norm.*                         norm.*
  reduction.*                    reduction.*                 | unfold_order
layers.{s}.blocks.{b}.         stages.{s}.blocks.{b}.
  norm{k}.*                      norm{k}.*
  attn.logit_scale               attn.w_msa.logit_scale
  attn.cpb_mlp.{k}.*             attn.w_msa.cpb_mlp.{k}.*
  -                              attn.w_msa.relative_coords_table    | dropped it follows from the window
  -                              attn.w_msa.relative_position_index  | dropped it follows from the window
  attn.qkv.*                     attn.w_msa.qkv.*
  attn.q_bias                    attn.w_msa.q_bias
  attn.v_bias                    attn.w_msa.v_bias
  attn.proj.*                    attn.w_msa.proj.*
  mlp.fc1.*                      ffn.layers.0.0.*
  mlp.fc2.*                      ffn.layers.1.*
norm.*                         norm3.*
"""

CONVNEXT = """
stem.{k}.*                     downsample_layers.0.{k}.*
stages.{s}.downsample.{k}.*    downsample_layers.{s}.{k}.*
stages.{s}.blocks.{b}.         stages.{s}.{b}.
  gamma                          gamma
  conv_dw.*                      depthwise_conv.*
  norm.*                         norm.*
  mlp.fc{k}.*                    pointwise_conv{k}.*
  mlp.grn.weight                 grn.gamma
  mlp.grn.bias                   grn.beta
head.norm.*                    norm3.*
"""

_OTHERS = """
-                              data_preprocessor.*          | dropped it prepares the images
-                              neck.**                      | dropped timm's model has no such layer
-                              backbone.norm{k}.*           | dropped the norm of a level for dense prediction
"""


def in_backbone(rows: str) -> str:
    """The rows of a trunk in a larger network."""
    return below("backbone.", rows)


def _tables(family: str, rows: str, head: str, twins: str, fits: tuple[str, ...] = ()) -> tuple[Table, ...]:
    """The network with its head, and a trunk that was saved alone."""

    def fitting(shapes: Shapes) -> bool:
        return all(name in shapes for name in fits)

    whole = f"{in_backbone(rows)}\n{head}\n{_OTHERS}"
    return (
        Table(family, whole, (Twins(twins),), fits=fitting),
        Table(f"{family}, trunk alone", rows, (Twins(twins),), fits=fitting),
    )


def has_plain_stem(shapes: Shapes) -> bool:
    """Whether the stem of a ResNet is one convolution."""
    return "conv1.weight" in shapes


TABLES = (
    Table(
        "ResNet",
        f"{in_backbone(RESNET)}\nfc.*  head.fc.*\n{_OTHERS}",
        (Twins("resnet[0-9]* resnext* wide_resnet*"),),
        fits=has_plain_stem,
    ),
    Table(
        "ResNet with a deep stem",
        f"{in_backbone(DEEP_STEM)}\nfc.*  head.fc.*\n{_OTHERS}",
        (Twins("resnet*[cd] resnext*[cd]"),),
    ),
    *_tables(
        "Vision Transformer", VIT, "head.*  head.layers.head.*\nhead_dist.*  head.layers.head_dist.*", "vit_* deit_*"
    ),
    *_tables("Swin Transformer", SWIN, "head.fc.*  head.fc.*", "swin_*"),
    *_tables(
        "Swin Transformer V2", SWIN_V2, "head.fc.*  head.fc.*", "swinv2_*", ("layers.0.blocks.0.attn.logit_scale",)
    ),
    *_tables("ConvNeXt", CONVNEXT, "head.fc.*  head.fc.*", "convnext*"),
)
