"""Prithvi (https://github.com/NASA-IMPACT/Prithvi-EO-2.0): masked autoencoders of six bands of HLS, several frames.

For one frame the network is a vision transformer: the patch kernel has the depth one, and the positions are those of
the first frame. Those of later frames are left out, so this does not come back.
"""

from __future__ import annotations

from collections.abc import Iterator

from zoo.core.layouts.table import Shapes, Table, Twins, below
from zoo.core.layouts.vit_rows import BLOCKS

_ENCODER = f"""
cls_token                      cls_token
pos_embed                      pos_embed                    | first_frame
patch_embed.proj.weight        patch_embed.proj.weight      | squeezed 2
patch_embed.proj.bias          patch_embed.proj.bias
{BLOCKS}
-                              temporal_embed_enc.**        | dropped it encodes when an image was taken
-                              location_embed_enc.**        | dropped it encodes where an image was taken
"""
_DECODER = """
-                              mask_token                   | dropped it only served pretraining
-                              decoder_**                   | dropped the decoder of pretraining
"""
_TASK = """
-                              decoder.**                   | dropped it is the decoder, not the network of features
-                              neck.**                      | dropped it was trained for another task
-                              head.**                      | dropped it was trained for another task
-                              aux_heads.**                 | dropped it was trained for another task
"""
_BANDS = ("blue", "green", "red", "nir08", "swir16", "swir22")
_NOTE = "it is the network of one frame; mean and std are those of reflectances times 10,000"
_TWINS = (Twins("vit_*", (("norm_eps", 1e-5),)),)
# Digital numbers of HLS, which are reflectances times 10,000 (config.json of the two versions).
_FIRST_VERSION = (
    (775.0, 1081.0, 1229.0, 2497.0, 2204.0, 1611.0),
    (1282.0, 1270.0, 1399.0, 1368.0, 1292.0, 1155.0),
)
_SECOND_VERSION = (
    (1087.0, 1342.0, 1433.0, 2734.0, 1958.0, 1363.0),
    (2248.0, 2179.0, 2178.0, 1850.0, 1242.0, 1049.0),
)
_KERNEL_AXES = 5
_POSITIONS_OF_THE_FIRST = 1 + 3 * 14 * 14


def _tables(prefix: str, others: str) -> Iterator[Table]:
    """Both versions; the first was trained with three frames, which its positions tell."""
    rows = below(prefix, _ENCODER) + others

    def has_frames(shapes: Shapes) -> bool:
        return len(shapes.get(f"{prefix}patch_embed.proj.weight", ())) == _KERNEL_AXES

    def is_the_first(shapes: Shapes) -> bool:
        return has_frames(shapes) and shapes.get(f"{prefix}pos_embed", (0, 0))[1] == _POSITIONS_OF_THE_FIRST

    where = "" if prefix else ", the network alone or with its first decoder"
    for family, (mean, std), fits in (
        ("Prithvi 1.0", _FIRST_VERSION, is_the_first),
        ("Prithvi 2.0", _SECOND_VERSION, has_frames),
    ):
        yield Table(family + where, rows, _TWINS, mean, std, _NOTE, bands=_BANDS, fits_theirs=fits)


TABLES = (*_tables("encoder.", _DECODER + _TASK), *_tables("", _DECODER))
