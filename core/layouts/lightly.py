"""lightly's trunks (https://github.com/lightly-ai/lightly): the children of a ResNet in a Sequential, by number."""

from __future__ import annotations

from zoo.core.layouts.moco import NO_CLASSIFIER
from zoo.core.layouts.table import Table, Twins

_RESNET = f"""
-                              backbone_momentum.**         | dropped the momentum encoder
-                              projection_head_momentum.**  | dropped the momentum encoder
-                              projection_head.**           | dropped the projection of pretraining
-                              prediction_head.**           | dropped the predictor of pretraining
-                              prototypes.**                | dropped the centres of clusters
-                              criterion.**                 | dropped the loss of pretraining
{NO_CLASSIFIER}
conv1.*                        backbone.0.*
bn1.*                          backbone.1.*
layer{{s}}.{{b}}.              backbone.{{s+3}}.{{b}}.
  conv{{k}}.*                    conv{{k}}.*
  bn{{k}}.*                      bn{{k}}.*
  downsample.{{k}}.*             downsample.{{k}}.*
"""

TABLES = (Table("ResNet", _RESNET, (Twins("resnet[0-9]* resnext* wide_resnet*"),)),)
