"""SwAV and DeepCluster v2 (https://github.com/facebookresearch/swav): timm's keys beside heads of pretraining."""

from __future__ import annotations

from zoo.core.layouts.moco import NO_CLASSIFIER
from zoo.core.layouts.table import Table, Twins

_HEADS = f"""
-                              projection_head.**           | dropped the projection of pretraining
-                              prototypes.**                | dropped the centres of clusters
{NO_CLASSIFIER}
"""
_RESNET = """
conv1.*                        conv1.*
bn1.*                          bn1.*
layer{s}.{b}.                  layer{s}.{b}.
  conv{k}.*                      conv{k}.*
  bn{k}.*                        bn{k}.*
  downsample.{k}.*               downsample.{k}.*
"""

TABLES = (Table("SwAV", _HEADS + _RESNET, (Twins("resnet[0-9]*"),)),)
