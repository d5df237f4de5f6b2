"""Hugging Face transformers (https://huggingface.co/docs/transformers), with the tensor names in its files.

Since version 5 some models in memory have other names, which `transformers_5` has; `save_pretrained` still writes
these. `^` stands for the trunk's prefix, which a file with a head has.
"""

from __future__ import annotations

from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD, HALF
from zoo.core.layouts.dino import has_plain_mlp, with_mlp
from zoo.core.layouts.table import Table, Twins

_EMBEDDINGS = """
cls_token                      ^embeddings.cls_token
pos_embed                      ^embeddings.position_embeddings
patch_embed.proj.*             ^embeddings.patch_embeddings.projection.*
norm.*                         ^layernorm.*
-                              ^embeddings.mask_token       | dropped it only served pretraining
"""

_POOLER = """
-                              ^pooler.dense.*              | dropped timm's model has no such layer before its head
"""

_BLOCK = """
blocks.{i}.                    ^encoder.layer.{i}.
  attn.qkv.*                     attention.attention.query.* attention.attention.key.* attention.attention.value.*
  attn.proj.*                    attention.output.dense.*
"""

_MLP = """
  norm1.*                        layernorm_before.*
  norm2.*                        layernorm_after.*
  mlp.fc1.*                      intermediate.dense.*
  mlp.fc2.*                      output.dense.*
"""

_VIT = f"""
{_EMBEDDINGS}
{_BLOCK}
{_MLP}
{_POOLER}
"""

_DEIT = f"""
dist_token                     ^embeddings.distillation_token
{_VIT}
"""

_DINOV2 = f"""
{_EMBEDDINGS}
{_BLOCK}
  norm1.*                        norm1.*
  norm2.*                        norm2.*
  ls1.gamma                      layer_scale1.lambda1
  ls2.gamma                      layer_scale2.lambda1
  mlp.fc1.*                      mlp.FC1.*
  mlp.fc2.*                      mlp.FC2.*
"""

_DINOV2_HEAD = """
-                              classifier.*                 | dropped it reads patches beside the class token
"""

_CLIP_BLOCK = """
blocks.{i}.                    ^encoder.layers.{i}.
  norm1.*                        layer_norm1.*
  attn.qkv.*                     self_attn.q_proj.* self_attn.k_proj.* self_attn.v_proj.*
  attn.proj.*                    self_attn.out_proj.*
  norm2.*                        layer_norm2.*
  mlp.fc{k}.*                    mlp.fc{k}.*
"""

_CLIP = f"""
cls_token                      ^embeddings.class_embedding             | batched 2
pos_embed                      ^embeddings.position_embedding.weight   | batched 1
-                              ^embeddings.position_ids                | dropped it counts the positions
patch_embed.proj.*             ^embeddings.patch_embedding.*
norm_pre.*                     ^pre_layrnorm.*
{_CLIP_BLOCK}
norm.*                         ^post_layernorm.*
"""

_CLIP_HEAD = """
head.weight                    visual_projection.weight
head.bias                      -                            | zeros_per_row head.weight
"""

_TEXT_TOWER = """
-                              text_model.**                | dropped the text tower
-                              text_projection.*            | dropped the text tower
-                              logit_scale                  | dropped it compares images with texts
-                              logit_bias                   | dropped it compares images with texts
"""

_SIGLIP = f"""
pos_embed                      ^embeddings.position_embedding.weight   | batched 1
-                              ^embeddings.position_ids                | dropped it counts the positions
patch_embed.proj.*             ^embeddings.patch_embedding.*
{_CLIP_BLOCK}
norm.*                         ^post_layernorm.*
attn_pool.latent               ^head.probe
attn_pool.q.*&attn_pool.kv.*   ^head.attention.in_proj_*    | parts 1 2
attn_pool.proj.*               ^head.attention.out_proj.*
attn_pool.norm.*               ^head.layernorm.*
attn_pool.mlp.fc{{k}}.*        ^head.mlp.fc{{k}}.*
"""

_CONVNEXT = """
stem.0.*                       ^embeddings.patch_embeddings.*
stem.1.*                       ^embeddings.layernorm.*
stages.{s}.downsample.{k}.*    ^encoder.stages.{s}.downsampling_layer.{k}.*
stages.{s}.blocks.{b}.         ^encoder.stages.{s}.layers.{b}.
  gamma                          layer_scale_parameter
  conv_dw.*                      dwconv.*
  norm.*                         layernorm.*
  mlp.fc{k}.*                    pwconv{k}.*
head.norm.*                    ^layernorm.*
"""

_RESNET = """
conv1.*                        ^embedder.embedder.convolution.*
bn1.*                          ^embedder.embedder.normalization.*
layer{s+1}.{b}.                ^encoder.stages.{s}.layers.{b}.
  conv{k+1}.*                    layer.{k}.convolution.*
  bn{k+1}.*                      layer.{k}.normalization.*
  downsample.0.*                 shortcut.convolution.*
  downsample.1.*                 shortcut.normalization.*
"""

_SWIN = f"""
patch_embed.proj.*             ^embeddings.patch_embeddings.projection.*
patch_embed.norm.*             ^embeddings.norm.*
layers.{{s+1}}.downsample.     ^encoder.layers.{{s}}.downsample.
  norm.*                         norm.*
  reduction.*                    reduction.*
layers.{{s}}.blocks.{{b}}.     ^encoder.layers.{{s}}.blocks.{{b}}.
  attn.qkv.*                     attention.self.query.* attention.self.key.* attention.self.value.*
  attn.relative_position_bias_table   attention.self.relative_position_bias_table
  -                              attention.self.relative_position_index  | dropped it follows from the window
  attn.proj.*                    attention.output.dense.*
{_MLP}
norm.*                         ^layernorm.*
-                              ^embeddings.mask_token       | dropped it only served pretraining
"""

_CONVNEXT_V2 = _CONVNEXT.replace(
    "gamma                          layer_scale_parameter",
    "mlp.grn.*                      grn.*                      | led 3",
)


def _in(trunk: str, rows: str) -> str:
    return rows.replace("^", trunk)


def _head(timm: str, theirs: str = "classifier") -> str:
    return f"\n{timm}.*    {theirs}.*\n"


_PLAIN = with_mlp(_DINOV2, "fc1", "fc2")
_GATED = with_mlp(_DINOV2, "weights_in", "weights_out")

_DISTILLED_HEADS = _head("head", "cls_classifier") + _head("head_dist", "distillation_classifier")
_EPSILON = (("norm_eps", 1e-12),)
_VIT_TWINS = (Twins("vit_* deit_*", _EPSILON),)
_DEIT_TWINS = (Twins("deit_*_distilled_*", _EPSILON),)
_DINOV2_TWINS = (Twins("vit_*_dinov2"),)
_SIGLIP_TWINS = (Twins("vit_*_siglip_*"),)
_CLIP_TWINS = (Twins("vit_*_clip_quickgelu_* vit_*_clip_*"),)
_CLIP_NOTE = "the file does not say its activation: OpenAI's models compute quick GELU, most others GELU; see --arch"

# Each trunk precedes the trunk with its head: weights without a head are written as the trunk.
TABLES = (
    Table("ViT", _in("", _VIT), _VIT_TWINS, HALF, HALF),
    Table("ViT", _in("vit.", _VIT) + _head("head"), _VIT_TWINS, HALF, HALF),
    Table("DeiT", _in("", _DEIT), _DEIT_TWINS),
    Table("DeiT", _in("deit.", _DEIT) + _DISTILLED_HEADS, _DEIT_TWINS),
    Table("DINOv2", _in("", _PLAIN), _DINOV2_TWINS, fits=has_plain_mlp),
    Table("DINOv2", _in("dinov2.", _PLAIN) + _DINOV2_HEAD, _DINOV2_TWINS, fits=has_plain_mlp),
    Table("DINOv2 with SwiGLU", _in("", _GATED), _DINOV2_TWINS),
    Table("DINOv2 with SwiGLU", _in("dinov2.", _GATED) + _DINOV2_HEAD, _DINOV2_TWINS),
    Table("CLIP vision", _in("", _CLIP), _CLIP_TWINS, CLIP_MEAN, CLIP_STD, _CLIP_NOTE),
    Table(
        "CLIP",
        _in("vision_model.", _CLIP) + _CLIP_HEAD + _TEXT_TOWER,
        _CLIP_TWINS,
        CLIP_MEAN,
        CLIP_STD,
        _CLIP_NOTE,
    ),
    Table("SigLIP vision", _in("", _SIGLIP), _SIGLIP_TWINS, HALF, HALF),
    Table("SigLIP", _in("vision_model.", _SIGLIP) + _TEXT_TOWER, _SIGLIP_TWINS, HALF, HALF),
    Table("ConvNeXt", _in("", _CONVNEXT), (Twins("convnext_*"),)),
    Table("ConvNeXt", _in("convnext.", _CONVNEXT) + _head("head.fc"), (Twins("convnext_*"),)),
    Table("ConvNeXt V2", _in("", _CONVNEXT_V2), (Twins("convnextv2_*"),)),
    Table("ConvNeXt V2", _in("convnextv2.", _CONVNEXT_V2) + _head("head.fc"), (Twins("convnextv2_*"),)),
    Table("ResNet", _in("", _RESNET), (Twins("resnet[0-9]*"),)),
    Table("ResNet", _in("resnet.", _RESNET) + _head("fc", "classifier.1"), (Twins("resnet[0-9]*"),)),
    Table("Swin Transformer", _in("", _SWIN), (Twins("swin_*"),)),
    Table("Swin Transformer", _in("swin.", _SWIN) + _head("head.fc"), (Twins("swin_*"),)),
)
