"""Hugging Face transformers (https://huggingface.co/docs/transformers), with the tensor names in its files.

Since version 5 some models in memory have other names, which `transformers_5` has; `save_pretrained` still writes
these. `^` stands for the trunk's prefix, which a file with a head has.
"""

from __future__ import annotations

from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD, HALF
from zoo.core.layouts.dino import has_plain_mlp, has_registers, with_mlp
from zoo.core.layouts.table import Shapes, Table, Twins

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

_REGISTERS = _DINOV2.replace(
    """
cls_token                      ^embeddings.cls_token
pos_embed                      ^embeddings.position_embeddings
""",
    """
cls_token&pos_embed            ^embeddings.cls_token ^embeddings.position_embeddings   | class_position
reg_token                      ^embeddings.register_tokens
""",
)

_DINOV3 = """
cls_token                      embeddings.cls_token
reg_token                      embeddings.register_tokens
patch_embed.proj.*             embeddings.patch_embeddings.*
-                              embeddings.mask_token        | dropped it only served pretraining
blocks.{i}.                    layer.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.weight                attention.q_proj.weight attention.k_proj.weight attention.v_proj.weight
  attn.q_bias                    attention.q_proj.bias
  attn.v_bias                    attention.v_proj.bias
  attn.proj.*                    attention.o_proj.*
  gamma_1                        layer_scale1.lambda1
  gamma_2                        layer_scale2.lambda1
MLP
norm.*                         norm.*
"""

_DINOV3_MLP = """
  mlp.fc1.*                      mlp.up_proj.*
  mlp.fc2.*                      mlp.down_proj.*
"""

_DINOV3_GATED = """
  mlp.fc1_g.*                    mlp.gate_proj.*
  mlp.fc1_x.*                    mlp.up_proj.*
  mlp.fc2.*                      mlp.down_proj.*
"""

_DINOV3_CONVNEXT = """
stem.{k}.*                     stages.0.downsample_layers.{k}.*
stages.{s}.downsample.{k}.*    stages.{s}.downsample_layers.{k}.*
stages.{s}.blocks.{b}.         stages.{s}.layers.{b}.
  gamma                          gamma
  conv_dw.*                      depthwise_conv.*
  norm.*                         layer_norm.*
  mlp.fc{k}.*                    pointwise_conv{k}.*
head.norm.*                    layer_norm.*
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

_SWIN_V2 = f"""
patch_embed.proj.*             ^embeddings.patch_embeddings.projection.*
patch_embed.norm.*             ^embeddings.norm.*
layers.{{s+1}}.downsample.     ^encoder.layers.{{s}}.downsample.
  norm.*                         norm.*
  reduction.*                    reduction.*
layers.{{s}}.blocks.{{b}}.     ^encoder.layers.{{s}}.blocks.{{b}}.
  attn.logit_scale               attention.self.logit_scale
  attn.cpb_mlp.{{k}}.*           attention.self.continuous_position_bias_mlp.{{k}}.*
  -                              attention.self.relative_coords_table    | dropped it follows from the window
  -                              attention.self.relative_position_index  | dropped it follows from the window
  attn.qkv.weight                attention.self.query.weight attention.self.key.weight attention.self.value.weight
  attn.q_bias                    attention.self.query.bias
  attn.v_bias                    attention.self.value.bias
  attn.proj.*                    attention.output.dense.*
{_MLP}
norm.*                         ^layernorm.*
-                              ^embeddings.mask_token       | dropped it only served pretraining
"""

# SigLIP 2 for images of any size: patches come as rows of numbers.
_NAFLEX = _SIGLIP.replace(
    "pos_embed                      ^embeddings.position_embedding.weight   | batched 1",
    "embeds.pos_embed               ^embeddings.position_embedding.weight   | gridded",
).replace("patch_embed.proj.*", "embeds.proj.*")

_CONVNEXT_V2 = _CONVNEXT.replace(
    "gamma                          layer_scale_parameter",
    "mlp.grn.*                      grn.*                      | led 3",
)


def _has_patch_kernel(shapes: Shapes) -> bool:
    """Whether patches are embedded by a convolution, not as rows of numbers."""
    return all(len(shape) == 4 for name, shape in shapes.items() if name.endswith("patch_embedding.weight"))


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
_REGISTER_TWINS = (Twins("vit_*_reg4_dinov2"),)
_DINOV3_TWINS = (Twins("vit_*_dinov3_qkvb vit_*_dinov3"),)
_NAFLEX_TWINS = (Twins("naflexvit_*_siglip"),)
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
    Table(
        "DINOv2 with registers",
        _in("", with_mlp(_REGISTERS, "fc1", "fc2")),
        _REGISTER_TWINS,
        fits=lambda shapes: has_registers(shapes) and has_plain_mlp(shapes),
    ),
    Table(
        "DINOv2 with registers",
        _in("dinov2_with_registers.", with_mlp(_REGISTERS, "fc1", "fc2")) + _DINOV2_HEAD,
        _REGISTER_TWINS,
        fits=lambda shapes: has_registers(shapes) and has_plain_mlp(shapes),
    ),
    Table(
        "DINOv2 with registers and SwiGLU",
        _in("", with_mlp(_REGISTERS, "weights_in", "weights_out")),
        _REGISTER_TWINS,
        fits=has_registers,
    ),
    Table("DINOv3", _DINOV3.replace("MLP", _DINOV3_MLP), _DINOV3_TWINS),
    Table("DINOv3 with a gate", _DINOV3.replace("MLP", _DINOV3_GATED), _DINOV3_TWINS),
    Table("DINOv3 ConvNeXt", _DINOV3_CONVNEXT, (Twins("convnext_*_dinov3 convnext_*"),), fits=lambda _: False),
    Table("CLIP vision", _in("", _CLIP), _CLIP_TWINS, CLIP_MEAN, CLIP_STD, _CLIP_NOTE),
    Table(
        "CLIP",
        _in("vision_model.", _CLIP) + _CLIP_HEAD + _TEXT_TOWER,
        _CLIP_TWINS,
        CLIP_MEAN,
        CLIP_STD,
        _CLIP_NOTE,
    ),
    Table("SigLIP vision", _in("", _SIGLIP), _SIGLIP_TWINS, HALF, HALF, fits_theirs=_has_patch_kernel),
    Table(
        "SigLIP",
        _in("vision_model.", _SIGLIP) + _TEXT_TOWER,
        _SIGLIP_TWINS,
        HALF,
        HALF,
        fits_theirs=_has_patch_kernel,
    ),
    Table("SigLIP 2 vision, any size", _in("", _NAFLEX), _NAFLEX_TWINS, HALF, HALF),
    Table("SigLIP 2, any size", _in("vision_model.", _NAFLEX) + _TEXT_TOWER, _NAFLEX_TWINS, HALF, HALF),
    Table("ConvNeXt", _in("", _CONVNEXT), (Twins("convnext_*"),)),
    Table("ConvNeXt", _in("convnext.", _CONVNEXT) + _head("head.fc"), (Twins("convnext_*"),)),
    Table("ConvNeXt V2", _in("", _CONVNEXT_V2), (Twins("convnextv2_*"),)),
    Table("ConvNeXt V2", _in("convnextv2.", _CONVNEXT_V2) + _head("head.fc"), (Twins("convnextv2_*"),)),
    Table("ResNet", _in("", _RESNET), (Twins("resnet[0-9]*"),)),
    Table("ResNet", _in("resnet.", _RESNET) + _head("fc", "classifier.1"), (Twins("resnet[0-9]*"),)),
    Table("Swin Transformer", _in("", _SWIN), (Twins("swin_*"),)),
    Table("Swin Transformer", _in("swin.", _SWIN) + _head("head.fc"), (Twins("swin_*"),)),
    Table("Swin Transformer V2", _in("", _SWIN_V2), (Twins("swinv2_*"),)),
    Table("Swin Transformer V2", _in("swinv2.", _SWIN_V2) + _head("head.fc"), (Twins("swinv2_*"),)),
)
