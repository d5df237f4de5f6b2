"""MoCo v1 and v2 (https://github.com/facebookresearch/moco): a trunk with timm's keys, and its momentum copy."""

from __future__ import annotations

from zoo.core.layouts.table import Table, Twins

NO_CLASSIFIER = """
fc.**                          -                            | dropped a projection takes its place
head.**                        -                            | dropped a projection takes its place
"""

_MOCO = f"""
-                              encoder_k.**                 | dropped the momentum encoder
-                              encoder_q.fc.**              | dropped the projection of pretraining
-                              encoder_q.head.**            | dropped the projection of pretraining
-                              queue                        | dropped it holds the keys of earlier batches
-                              queue_ptr                    | dropped it holds the keys of earlier batches
{NO_CLASSIFIER}
**                             encoder_q.**
"""

TABLES = (Table("MoCo", _MOCO, (Twins("resnet[0-9]* resnext* vit_*"),)),)
