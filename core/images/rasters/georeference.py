"""The place of a raster on the ground: the affine transform of pixels and the coordinate system, as plain values.

The transform is (a, b, c, d, e, f): the corner at column i and row j lies at x = a i + b j + c, y = d i + e j + f.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.core.images.inputs.image_input import Window

PIXEL_SCALE, TIE_POINT, TRANSFORMATION, KEY_DIRECTORY = 33550, 33922, 34264, 34735
GEO_TAGS = (PIXEL_SCALE, TIE_POINT, TRANSFORMATION, KEY_DIRECTORY)

_RASTER_TYPE, _GEOGRAPHIC_CRS, _PROJECTED_CRS = 1025, 2048, 3072
_PIXEL_IS_POINT = 2
_USER_DEFINED = 32767


def shift(georeference: dict[str, Any] | None, window: Window) -> dict[str, Any] | None:
    """The georeference of a window of a raster."""
    if georeference is None or "transform" not in georeference:
        return georeference
    a, b, c, d, e, f = georeference["transform"]
    left, top = window.left, window.top
    return {**georeference, "transform": [a, b, a * left + b * top + c, d, e, d * left + e * top + f]}


def from_tags(tags: Mapping[int, Sequence[Any]]) -> dict[str, Any] | None:
    """Georeference from the tags of a GeoTIFF (OGC 19-008r4), if it is simple.

    Simple means a scale and one tie point, or a matrix, and a coordinate system with an EPSG code; the rest is left
    out.
    """
    keys = _keys(tags.get(KEY_DIRECTORY, ()))
    found: dict[str, Any] = {}
    code = next((v for k in (_PROJECTED_CRS, _GEOGRAPHIC_CRS) if (v := keys.get(k)) is not None), _USER_DEFINED)
    if 1024 <= code < _USER_DEFINED:
        found["crs"] = f"EPSG:{code}"
    transform = _transform(tags)
    if transform and all(math.isfinite(v) for v in transform):
        if keys.get(_RASTER_TYPE) == _PIXEL_IS_POINT:  # the tie point is the centre of a pixel
            a, b, c, d, e, f = transform
            transform = [a, b, c - (a + b) / 2, d, e, f - (d + e) / 2]
        found["transform"] = transform
    return found or None


def _keys(directory: Sequence[Any]) -> dict[int, int]:
    """Keys with their value in the directory itself: (key, 0, 1, value) after the four numbers of the header."""
    rows = zip(*[iter(directory[4:])] * 4, strict=False)
    return {key: value for key, location, count, value in rows if (location, count) == (0, 1)}


def _transform(tags: Mapping[int, Sequence[Any]]) -> list[float] | None:
    scale, tie, matrix = (tuple(tags.get(tag, ())) for tag in (PIXEL_SCALE, TIE_POINT, TRANSFORMATION))
    if len(scale) >= 2 and len(tie) == 6:
        column, row, _, x, y, _ = tie
        return [scale[0], 0.0, x - column * scale[0], 0.0, -scale[1], y + row * scale[1]]
    if len(matrix) == 16:
        return [matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7]]
    return None
