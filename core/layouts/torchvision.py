"""torchvision's architectures (https://pytorch.org/vision/stable/models.html).

timm took over the keys of its ResNets, DenseNets and Inception-v3. Its MobileNetV3, EfficientNetV2 and EfficientNet B5
to B7 use a different epsilon in norms than timm's.
"""

from __future__ import annotations

from zoo.core.layouts.table import Shapes, Table, Twins

_RESNET = """
conv1.*                        conv1.*
bn1.*                          bn1.*
layer{s}.{b}.                  layer{s}.{b}.
  conv{k}.*                      conv{k}.*
  bn{k}.*                        bn{k}.*
  downsample.{k}.*               downsample.{k}.*
fc.*                           fc.*
"""

_DENSENET = """
features.conv0.*               features.conv0.*
features.norm{k}.*             features.norm{k}.*
features.denseblock{s}.denselayer{b}.      features.denseblock{s}.denselayer{b}.
  norm{k}.*                      norm{k}.*
  conv{k}.*                      conv{k}.*
features.transition{s}.        features.transition{s}.
  norm.*                         norm.*
  conv.*                         conv.*
classifier.*                   classifier.*
"""

_INCEPTION = """
Conv2d_**                      Conv2d_**
Mixed_**                       Mixed_**
fc.*                           fc.*
-                              AuxLogits.**               | dropped it only served training
"""

_VGG = """
features.{k}.*                 features.{k}.*
pre_logits.fc1.weight          classifier.0.weight        | unfold 7 7
pre_logits.fc1.bias            classifier.0.bias
pre_logits.fc2.weight          classifier.3.weight        | unfold 1 1
pre_logits.fc2.bias            classifier.3.bias
head.fc.*                      classifier.6.*
"""

_REGNET = """
stem.conv.*                    stem.0.*
stem.bn.*                      stem.1.*
s{s}.b{b}.                     trunk_output.block{s}.block{s}-{b-1}.
  downsample.conv.*              proj.0.*
  downsample.bn.*                proj.1.*
  conv1.conv.*                   f.a.0.*
  conv1.bn.*                     f.a.1.*
  conv2.conv.*                   f.b.0.*
  conv2.bn.*                     f.b.1.*
  se.fc{k}.*                     f.se.fc{k}.*
  conv3.conv.*                   f.c.0.*
  conv3.bn.*                     f.c.1.*
head.fc.*                      fc.*
"""

_CONVNEXT = """
stem.0.*                       features.0.0.*
stem.1.*                       features.0.1.*
stages.{s}.downsample.         features.{2s}.
  {k}.*                          {k}.*
stages.{s}.blocks.{b}.         features.{2s+1}.{b}.
  gamma                          layer_scale               | trailed 2
  conv_dw.*                      block.0.*
  norm.*                         block.2.*
  mlp.fc1.*                      block.3.*
  mlp.fc2.*                      block.5.*
head.norm.*                    classifier.0.*
head.fc.*                      classifier.2.*
"""

_VIT = """
cls_token                      class_token
pos_embed                      encoder.pos_embedding
patch_embed.proj.*             conv_proj.*
blocks.{i}.                    encoder.layers.encoder_layer_{i}.
  norm1.*                        ln_1.*
  attn.qkv.*                     self_attention.in_proj_*
  attn.proj.*                    self_attention.out_proj.*
  norm2.*                        ln_2.*
  mlp.fc1.*                      mlp.0.*
  mlp.fc2.*                      mlp.3.*
norm.*                         encoder.ln.*
head.*                         heads.head.*
"""

_SWIN = """
patch_embed.proj.*             features.0.0.*
patch_embed.norm.*             features.0.2.*
layers.{s}.downsample.         features.{2s}.
  norm.*                         norm.*
  reduction.*                    reduction.*
layers.{s}.blocks.{b}.         features.{2s+1}.{b}.
  norm1.*                        norm1.*
  attn.relative_position_bias_table   attn.relative_position_bias_table
  -                              attn.relative_position_index  | window_index attn.relative_position_bias_table
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  norm2.*                        norm2.*
  mlp.fc1.*                      mlp.0.*
  mlp.fc2.*                      mlp.3.*
norm.*                         norm.*
head.fc.*                      head.*
"""

_MOBILENET_V2 = """
conv_stem.*                    features.0.0.*
bn1.*                          features.0.1.*
conv_head.*                    features.18.0.*
bn2.*                          features.18.1.*
blocks.{s}.{b}.                features.{s.b+1}.
  conv_dw.*                      conv.0.0.*
  bn1.*                          conv.0.1.*
  conv_pw.*                      conv.1.*
  bn2.*                          conv.2.*
blocks.{s}.{b}.                features.{s.b+1}.
  conv_pw.*                      conv.0.0.*
  bn1.*                          conv.0.1.*
  conv_dw.*                      conv.1.0.*
  bn2.*                          conv.1.1.*
  conv_pwl.*                     conv.2.*
  bn3.*                          conv.3.*
classifier.*                   classifier.1.*
"""


def _depthwise(theirs: str, squeeze: int) -> str:
    """A block without expansion; `squeeze` is 1 if it has a squeeze-excitation submodule, otherwise 0."""
    return f"""
blocks.{{s}}.{{b}}.            {theirs}
  conv_dw.*                      block.0.0.*
  bn1.*                          block.0.1.*
{_squeeze_excite("block.1") if squeeze else ""}
  conv_pw.*                      block.{squeeze + 1}.0.*
  bn2.*                          block.{squeeze + 1}.1.*
"""


def _inverted_residual(theirs: str, squeeze: int) -> str:
    return f"""
blocks.{{s}}.{{b}}.            {theirs}
  conv_pw.*                      block.0.0.*
  bn1.*                          block.0.1.*
  conv_dw.*                      block.1.0.*
  bn2.*                          block.1.1.*
{_squeeze_excite("block.2") if squeeze else ""}
  conv_pwl.*                     block.{squeeze + 2}.0.*
  bn3.*                          block.{squeeze + 2}.1.*
"""


def _squeeze_excite(theirs: str) -> str:
    return f"""
  se.conv_reduce.*               {theirs}.fc1.*
  se.conv_expand.*               {theirs}.fc2.*
"""


_MOBILENET_V3 = f"""
conv_stem.*                    features.0.0.*
bn1.*                          features.0.1.*
blocks.{{s}}.{{b}}.            features.{{s.b+1}}.
  conv.*                         0.*
  bn1.*                          1.*
{_depthwise("features.{s.b+1}.", squeeze=0)}
{_depthwise("features.{s.b+1}.", squeeze=1)}
{_inverted_residual("features.{s.b+1}.", squeeze=0)}
{_inverted_residual("features.{s.b+1}.", squeeze=1)}
conv_head.weight               classifier.0.weight        | unfold 1 1
conv_head.bias                 classifier.0.bias
classifier.*                   classifier.3.*
"""


def _efficientnet(stages: int) -> str:
    """B0 to B7, and V2, whose first blocks are dense convolutions with and without expansion."""
    return f"""
conv_stem.*                    features.0.0.*
bn1.*                          features.0.1.*
conv_head.*                    features.{stages + 1}.0.*
bn2.*                          features.{stages + 1}.1.*
blocks.{{s}}.{{b}}.            features.{{s+1}}.{{b}}.
  conv.*                         block.0.0.*
  bn1.*                          block.0.1.*
blocks.{{s}}.{{b}}.            features.{{s+1}}.{{b}}.
  conv_exp.*                     block.0.0.*
  bn1.*                          block.0.1.*
  conv_pwl.*                     block.1.0.*
  bn2.*                          block.1.1.*
{_depthwise("features.{s+1}.{b}.", squeeze=1)}
{_inverted_residual("features.{s+1}.{b}.", squeeze=1)}
classifier.*                   classifier.1.*
"""


def _has_seventh_stage(shapes: Shapes) -> bool:
    return "blocks.6.0.conv_pwl.weight" in shapes


_EPSILON = (("bn_eps", 1e-3),)
_V2 = Twins("efficientnetv2_[sml]", _EPSILON)

TABLES = (
    Table("ResNet", _RESNET, (Twins("resnet[0-9]* resnext* wide_resnet*"),)),
    Table("DenseNet", _DENSENET, (Twins("densenet*"),)),
    Table("Inception v3", _INCEPTION, (Twins("inception_v3"),)),
    Table("VGG", _VGG, (Twins("vgg*"),)),
    Table("RegNet", _REGNET, (Twins("regnet[xy]_*"),)),
    Table("ConvNeXt", _CONVNEXT, (Twins("convnext_*"),)),
    Table("Vision Transformer", _VIT, (Twins("vit_*"),)),
    Table("Swin Transformer", _SWIN, (Twins("swin_*"),)),
    Table("MobileNetV2", _MOBILENET_V2, (Twins("mobilenetv2_*"),)),
    Table("MobileNetV3", _MOBILENET_V3, (Twins("mobilenetv3_*", _EPSILON),)),
    Table(
        "EfficientNet B0 to B7, V2-M and V2-L",
        _efficientnet(7),
        (Twins("efficientnet_b[0-4]"), Twins("efficientnet_b[5-7]", _EPSILON), _V2),
        fits=_has_seventh_stage,
    ),
    Table("EfficientNetV2-S", _efficientnet(6), (_V2,), fits=lambda shapes: not _has_seventh_stage(shapes)),
)
