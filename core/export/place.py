"""The place of an exported image on the ground, for the formats that can store it. Standard library only.

The transform is (a, b, c, d, e, f): the corner at column i and row j lies at x = a i + b j + c, y = d i + e j + f.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

_EPSG = "EPSG:"
_LITTLE_ENDIAN, _POLYGON = 1, 3
_MOST = 2**31


class Place(NamedTuple):
    """The coordinate system, the transform and the size in pixels of an image or a tile.

    `crs` is "EPSG:CODE" or WKT, empty if unknown. `transform` has 6 numbers, or is empty if unknown.
    """

    crs: str
    transform: tuple[float, ...]
    width: int
    height: int

    @classmethod
    def of(cls, georeference: Mapping[str, Any] | None, size: tuple[int, int]) -> Place | None:
        """The place from a raster's georeference and its (width, height); None without a georeference."""
        if not georeference:
            return None
        return cls(georeference.get("crs", ""), tuple(georeference.get("transform", ())), *size)

    @property
    def epsg(self) -> int:
        """The EPSG code of the coordinate system; 0 if it has none or is unknown."""
        code = self.crs.removeprefix(_EPSG)
        return int(code) if code != self.crs and code.isdecimal() and int(code) < _MOST else 0

    def corners(self) -> list[tuple[float, float]]:
        """The four corners as (x, y), counterclockwise; empty if the image has no area on the ground."""
        if not self.transform:
            return []
        a, b, c, d, e, f = self.transform
        area = a * e - b * d
        if not area or not math.isfinite(area):
            return []
        # In nearly all files rows run downwards, and then this order is counterclockwise.
        pixels = [(0, 0), (0, self.height), (self.width, self.height), (self.width, 0)]
        return [(a * i + b * j + c, d * i + e * j + f) for i, j in (pixels if area < 0 else reversed(pixels))]

    def polygon(self) -> bytes | None:
        """The corners as well-known binary (OGC 06-103r4, 8.2), x before y; None without corners."""
        corners = self.corners()
        if not corners:
            return None
        ring = [*corners, corners[0]]
        numbers = [number for corner in ring for number in corner]
        return struct.pack(f"<BIII{len(numbers)}d", _LITTLE_ENDIAN, _POLYGON, 1, len(ring), *numbers)
