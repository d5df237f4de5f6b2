"""BYOL in torch, of lucidrains (https://github.com/lucidrains/byol-pytorch): a trunk with timm's keys."""

from __future__ import annotations

from zoo.core.layouts.moco import NO_CLASSIFIER
from zoo.core.layouts.table import Table, Twins

_BYOL = f"""
-                              target_encoder.**            | dropped the momentum encoder
-                              online_encoder.projector.**  | dropped the projection of pretraining
-                              online_predictor.**          | dropped the predictor of pretraining
-                              online_encoder.net.fc.**     | dropped a projection takes its place
{NO_CLASSIFIER}
**                             online_encoder.net.**
"""
_TWINS = (Twins("resnet[0-9]* resnext* vit_*"),)

TABLES = (Table("BYOL", _BYOL, _TWINS),)
