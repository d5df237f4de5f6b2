"""Prithvi (https://github.com/NASA-IMPACT/Prithvi-EO-2.0): masked autoencoders of six bands of HLS, several frames.

For one frame the network is a vision transformer: the patch kernel has the depth one, and the positions are those of
the first frame. Those of later frames are left out, so this does not come back.
"""

from __future__ import annotations

from zoo.core.layouts.table import Table, Twins, below

_ENCODER = """
cls_token                      cls_token
pos_embed                      pos_embed                    | first_frame
patch_embed.proj.weight        patch_embed.proj.weight      | squeezed 2
patch_embed.proj.bias          patch_embed.proj.bias
blocks.{i}.                    blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
"""
_DECODER = """
-                              mask_token                   | dropped it only served pretraining
-                              decoder_**                   | dropped the decoder of pretraining
-                              decoder.**                   | dropped the decoder of pretraining
"""
_COORDINATES = """
-                              encoder.temporal_embed_enc.**  | dropped it encodes when an image was taken
-                              encoder.location_embed_enc.**  | dropped it encodes where an image was taken
"""
_BANDS = ("blue", "green", "red", "nir08", "swir16", "swir22")
# Digital numbers of HLS, which are reflectances times 10,000 (config.json of Prithvi-EO-2.0-300M).
_MEAN = (1087.0, 1342.0, 1433.0, 2734.0, 1958.0, 1363.0)
_STD = (2248.0, 2179.0, 2178.0, 1850.0, 1242.0, 1049.0)
_NOTE = "it is the network of one frame; mean and std are those of reflectances times 10,000"


def _table(family: str, rows: str) -> Table:
    return Table(family, rows, (Twins("vit_*"),), _MEAN, _STD, _NOTE, bands=_BANDS)


TABLES = (
    _table("Prithvi", below("encoder.", _ENCODER) + _DECODER + _COORDINATES),
    _table("Prithvi 1.0", _ENCODER + _DECODER),
)
