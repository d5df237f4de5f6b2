"""VICReg (https://github.com/facebookresearch/vicreg) and Barlow Twins: timm's keys below `backbone.`."""

from __future__ import annotations

from zoo.core.layouts.moco import NO_CLASSIFIER
from zoo.core.layouts.table import Table, Twins

_VICREG = f"""
-                              projector.**                 | dropped the projection of pretraining
-                              bn.*                         | dropped it normalises the projection
{NO_CLASSIFIER}
**                             backbone.**
"""

TABLES = (Table("VICReg", _VICREG, (Twins("resnet[0-9]* resnext* wide_resnet* vit_*"),)),)
