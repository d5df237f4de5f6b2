"""MMDetection's backbones (https://github.com/open-mmlab/mmdetection); necks and heads of detectors are left out."""

from __future__ import annotations

from zoo.core.layouts.mmpretrain import CONVNEXT, RESNET, SWIN, has_plain_stem, in_backbone
from zoo.core.layouts.table import Table, Twins

_HEADS = """
-                              neck.**                      | dropped it lies between the trunk and the heads
-                              rpn_head.**                  | dropped the detector
-                              roi_head.**                  | dropped the detector
-                              bbox_head.**                 | dropped the detector
-                              mask_head.**                 | dropped the detector
-                              encoder.**                   | dropped the detector
-                              decoder.**                   | dropped the detector
-                              query_embedding.*            | dropped the detector
-                              level_embed                  | dropped the detector
-                              data_preprocessor.*          | dropped it prepares the images
"""
_LEVELS = """
-                              backbone.norm{k}.*           | dropped the norm of a level for detection
"""

TABLES = (
    Table("ResNet", in_backbone(RESNET) + _HEADS, (Twins("resnet[0-9]* resnext*"),), fits=has_plain_stem),
    Table("Swin Transformer", in_backbone(SWIN) + _LEVELS + _HEADS, (Twins("swin_*"),)),
    Table("ConvNeXt", in_backbone(CONVNEXT) + _LEVELS + _HEADS, (Twins("convnext*"),)),
)
