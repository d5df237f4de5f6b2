"""Where an exported image lies on the ground, for the formats that have room for it. Standard library only.

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
    """Of an image or a tile of it: its coordinate system, its transform, and its size in pixels.

    `crs` is "EPSG:CODE" or WKT, empty where it is not known; so is `transform`, else of 6 numbers.
    """

    crs: str
    transform: tuple[float, ...]
    width: int
    height: int

    @classmethod
    def of(cls, georeference: Mapping[str, Any] | None, size: tuple[int, int]) -> Place | None:
        """From what a raster says of itself and its (width, height); None where it says nothing."""
        if not georeference:
            return None
        return cls(georeference.get("crs", ""), tuple(georeference.get("transform", ())), *size)

    @property
    def epsg(self) -> int:
        """The code of the coordinate system; 0 where it has none, or is not known."""
        code = self.crs.removeprefix(_EPSG)
        return int(code) if code != self.crs and code.isdecimal() and int(code) < _MOST else 0

    def corners(self) -> list[tuple[float, float]]:
        """The four corners as (x, y), counterclockwise; empty where the image has no area on the ground."""
        if not self.transform:
            return []
        a, b, c, d, e, f = self.transform
        area = a * e - b * d
        if not area or not math.isfinite(area):
            return []
        # Rows run down in nearly all files, and then this way round is counterclockwise.
        pixels = [(0, 0), (0, self.height), (self.width, self.height), (self.width, 0)]
        return [(a * i + b * j + c, d * i + e * j + f) for i, j in (pixels if area < 0 else reversed(pixels))]

    def polygon(self) -> bytes | None:
        """The corners as well-known binary (OGC 06-103r4, 8.2), x before y; None where there are none."""
        corners = self.corners()
        if not corners:
            return None
        ring = [*corners, corners[0]]
        numbers = [number for corner in ring for number in corner]
        return struct.pack(f"<BIII{len(numbers)}d", _LITTLE_ENDIAN, _POLYGON, 1, len(ring), *numbers)
