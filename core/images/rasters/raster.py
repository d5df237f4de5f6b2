"""The result of a reader: pixels, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.image_input import Window


@dataclass(frozen=True, kw_only=True)
class Raster:
    """A decoded image.

    Args:
        pixels: an 8-bit Pillow image of mode L or RGB, upright, or an array (bands, height, width) with the file's
            values: any integer or floating dtype, native byte order.
        white: the number that counts as 1.0: the largest of the file's bit depth, 1.0 for floating point.
        valid: (height, width), or (bands, height, width) if bands differ: False where the file declares missing data;
            None if all data are valid.
        band_names: as the file states them, otherwise empty.
        georeference: crs and transform as plain values, for the manifest; None if the file has none.
        picture: whether it is grey or colour for the eye, so that one may be converted into the other.
        scales, offsets: one per band if the file declares them: a value is scale times the number plus offset. They are
            not applied; `rescaled` applies them.
        facts: other findings and decisions, as plain values for the manifest.
    """

    pixels: Image.Image | NDArray[Any]
    white: float
    valid: NDArray[Any] | None = None
    band_names: tuple[str, ...] = ()
    georeference: dict[str, Any] | None = None
    picture: bool = False
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def num_bands(self) -> int:
        return len(self.pixels.getbands()) if isinstance(self.pixels, Image.Image) else self.pixels.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, in Pillow's order."""
        if isinstance(self.pixels, Image.Image):
            return self.pixels.size
        return self.pixels.shape[2], self.pixels.shape[1]

    def rescaled(self) -> Raster:
        """The raster in the file's unit: scale times the numbers plus offset, in float32; 1.0 then counts as 1.

        Raises:
            InvalidInputError: the file declares no scale and offset.
        """
        if not self.scales:
            raise InvalidInputError(
                "the file declares no scale and offset.", hint="Give the value that stands for 1: --scale 10000"
            )
        scales, offsets = (np.array(values, np.float64)[:, None, None] for values in (self.scales, self.offsets))
        pixels = (np.asarray(self.pixels) * scales + offsets).astype(np.float32)
        return replace(self, pixels=pixels, white=1.0, scales=(), offsets=())

    def crop(self, window: Window) -> Raster:
        """The pixels of a window, which must be inside the raster; the georeference is left unchanged."""
        left, top, width, height = window
        if (width, height) == self.size:
            return self
        if isinstance(self.pixels, Image.Image):
            return replace(self, pixels=self.pixels.crop((left, top, left + width, top + height)))
        part = (..., slice(top, top + height), slice(left, left + width))
        return replace(self, pixels=self.pixels[part], valid=None if self.valid is None else self.valid[part])
