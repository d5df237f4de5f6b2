"""SimCLR in torch, of Spijkervet (https://github.com/spijkervet/SimCLR) and of sthalles: trunks with timm's keys."""

from __future__ import annotations

from zoo.core.layouts.moco import NO_CLASSIFIER
from zoo.core.layouts.table import Table, Twins

_BACKBONE = f"""
-                              backbone.fc.{{k}}.*          | dropped the projection of pretraining
{NO_CLASSIFIER}
**                             backbone.**
"""
_ENCODER = f"""
-                              projector.**                 | dropped the projection of pretraining
{NO_CLASSIFIER}
**                             encoder.**
"""
_TWINS = (Twins("resnet[0-9]* resnext* vit_*"),)

TABLES = (
    Table("SimCLR with a projector", _ENCODER, _TWINS),
    Table("SimCLR", _BACKBONE, _TWINS, fits=lambda _: False),
)
