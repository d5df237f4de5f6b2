"""MMSegmentation's backbones (https://github.com/open-mmlab/mmsegmentation); the decoders are left out.

ResNets, Swin and ConvNeXt have MMPretrain's names; norms of levels that only dense prediction reads are left out.
"""

from __future__ import annotations

from zoo.core.layouts.mmpretrain import CONVNEXT, DEEP_STEM, RESNET, SWIN, VIT, has_plain_stem, in_backbone
from zoo.core.layouts.table import Table, Twins

_HEADS = """
-                              decode_head.**               | dropped the decoder
-                              auxiliary_head.**            | dropped the decoder of training
-                              neck.**                      | dropped it lies between the trunk and the decoder
-                              data_preprocessor.*          | dropped it prepares the images
"""
_LEVELS = """
-                              backbone.norm{k}.*           | dropped the norm of a level for dense prediction
"""
_TORCH_ATTENTION = VIT.replace(
    """  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
""",
    """  attn.qkv.*                     attn.attn.in_proj_*
  attn.proj.*                    attn.attn.out_proj.*
""",
)

TABLES = (
    Table("ResNet", in_backbone(RESNET) + _HEADS, (Twins("resnet[0-9]* resnext*"),), fits=has_plain_stem),
    Table("ResNet with a deep stem", in_backbone(DEEP_STEM) + _HEADS, (Twins("resnet*[cd] resnext*[cd]"),)),
    Table("Vision Transformer", in_backbone(_TORCH_ATTENTION) + _HEADS, (Twins("vit_* deit_*"),)),
    Table("Swin Transformer", in_backbone(SWIN) + _LEVELS + _HEADS, (Twins("swin_*"),)),
    Table("ConvNeXt", in_backbone(CONVNEXT) + _LEVELS + _HEADS, (Twins("convnext*"),)),
)
