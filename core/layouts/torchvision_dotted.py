"""torchvision's published DenseNet files: their layer names date from when a module's name could contain dots.

For example https://download.pytorch.org/models/densenet121-a639ec97.pth; torchvision renames the keys on loading.
"""

from __future__ import annotations

from zoo.core.layouts.table import Table, Twins

_DENSENET = """
features.conv0.*               features.conv0.*
features.norm{k}.*             features.norm{k}.*
features.denseblock{s}.denselayer{b}.      features.denseblock{s}.denselayer{b}.
  norm{k}.*                      norm.{k}.*
  conv{k}.*                      conv.{k}.*
features.transition{s}.        features.transition{s}.
  norm.*                         norm.*
  conv.*                         conv.*
classifier.*                   classifier.*
"""

TABLES = (Table("DenseNet", _DENSENET, (Twins("densenet*"),)),)
