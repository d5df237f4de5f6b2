"""Masked autoencoders (https://github.com/facebookresearch/mae).

The encoder has timm's keys; the decoder is dropped.
"""

from __future__ import annotations

from zoo.core.layouts.table import Table, Twins
from zoo.core.layouts.vit_rows import TRUNK

_PRETRAINING = """
-                              mask_token                   | dropped it only served pretraining
-                              decoder_**                   | dropped the decoder of pretraining
"""

TABLES = (Table("MAE", TRUNK + _PRETRAINING, (Twins("vit_*"),)),)
