"""What a reader gives: pixels, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Raster:
    """A decoded image.

    Args:
        pixels: an 8-bit Pillow image of mode L or RGB, upright, or an array (bands, height, width) in the numbers of
            the file: any integer or floating dtype, native byte order.
        white: the number that counts as 1.0: the largest of the file's bit depth, 1.0 for floating point.
        valid: (height, width), False where the file says that there is no data; None where all is data.
        band_names: as the file states them, empty where it does not.
        georeference: crs and transform as plain values, for the manifest; None where the file has none.
    """

    pixels: Image.Image | NDArray[Any]
    white: float
    valid: NDArray[Any] | None = None
    band_names: tuple[str, ...] = ()
    georeference: dict[str, Any] | None = None

    @property
    def num_bands(self) -> int:
        return len(self.pixels.getbands()) if isinstance(self.pixels, Image.Image) else self.pixels.shape[0]
