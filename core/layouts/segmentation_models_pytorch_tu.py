"""Universal encoders (`tu-`) of segmentation_models_pytorch: timm's trunks below `encoder.model.`.

The containers of stages are dissolved: `stages_0` stands for `stages.0`. A trunk ends with its last feature level.
"""

from __future__ import annotations

from zoo.core.layouts.segmentation_models_pytorch import HEADS, NO_CLASSIFIER
from zoo.core.layouts.table import Table, Twins

_UNIVERSAL = """
stem.{k}.**                    encoder.model.stem_{k}.**
stages.{s}.**                  encoder.model.stages_{s}.**
layers.{s}.**                  encoder.model.layers_{s}.**
features.**                    encoder.model.features_**
**                             encoder.model.**
"""

TABLES = (Table("universal encoders", NO_CLASSIFIER + _UNIVERSAL + HEADS, (Twins("*"),)),)
