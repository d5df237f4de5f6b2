"""MoCo v3 (https://github.com/facebookresearch/moco-v3): ResNets and vision transformers with timm's keys."""

from __future__ import annotations

from zoo.core.layouts.moco import NO_CLASSIFIER
from zoo.core.layouts.table import Table, Twins

_MOCO_V3 = f"""
-                              momentum_encoder.**          | dropped the momentum encoder
-                              base_encoder.fc.**           | dropped the projection of pretraining
-                              base_encoder.head.**         | dropped the projection of pretraining
-                              predictor.**                 | dropped the predictor of pretraining
{NO_CLASSIFIER}
**                             base_encoder.**
"""

TABLES = (Table("MoCo v3", _MOCO_V3, (Twins("resnet[0-9]* vit_*"),)),)
