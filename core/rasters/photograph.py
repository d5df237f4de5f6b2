"""Photographs, decoded by Pillow without losing anything quietly.

8-bit images of any mode (palette, CMYK, with alpha) become grey or RGB as Pillow's `convert` does it, alpha dropped,
colour profiles left alone. Deeper grey and colour keeps its bits; a depth that Pillow would cut down is refused.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from zoo.core.errors import InvalidInputError
from zoo.core.inputs.image_input import Window
from zoo.core.rasters import png
from zoo.core.rasters.options import ReadOptions
from zoo.core.rasters.raster import Raster
from zoo.core.rasters.raster_file import WholeRasterFile, explain

PILLOW_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")

_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_BITS_PER_SAMPLE = 258
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_MOST_BESIDE_PIXELS = 1 << 24  # bytes
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_GREY_8_BIT = ("1", "L", "LA", "La")
_GREY_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


class Photograph(WholeRasterFile):
    """A JPEG, PNG, WebP, BMP, GIF or plain TIFF. Upright: its EXIF orientation is applied."""

    def __init__(self, file: BinaryIO, options: ReadOptions) -> None:
        super().__init__(options)
        self._file = file
        # Pillow has a limit of its own, for all who use it: it is raised where more was asked for, never lowered.
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, options.max_pixels)
        self._image = Image.open(file, formats=PILLOW_FORMATS)
        options.check_size(*self._image.size)
        _refuse_several(self._image)
        self._png = png.read_header(file) if self._image.format == "PNG" else None
        self._bits = self._bits_per_channel()
        self.width, self.height = self._stored_size()
        if self._orientation() in _SIDEWAYS:
            self.width, self.height = self.height, self.width
        grey = (*_GREY_8_BIT, *_GREY_16_BIT)
        self.num_bands = 1 if self._image.mode in grey or self._is_deep_grey_alpha else 3

    @property
    def _is_deep_grey_alpha(self) -> bool:
        return self._png is not None and self._png.bits == 16 and self._png.colour_type == png.GREY_ALPHA

    def _stored_size(self) -> tuple[int, int]:
        if isinstance(self._image, TiffImageFile):  # whose `size` is of the upright image, in some versions of Pillow
            return self._image.tag_v2[_TIFF_WIDTH], self._image.tag_v2[_TIFF_HEIGHT]
        return self._image.size

    def _bits_per_channel(self) -> int:
        """As stored in the file: Pillow's mode does not tell, it opens 16-bit colour as 8-bit without a word."""
        if self._png is not None:
            return self._png.bits
        if isinstance(self._image, TiffImageFile):
            bits: tuple[int, ...] = self._image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,))
            return max(bits)
        return 8

    def _orientation(self) -> int:
        if self._png is None or self._png.text_after_pixels:
            exif = self._image.getexif()
        else:
            exif = Image.Image.getexif(self._image)  # Pillow's own for PNG decodes the image to look behind the pixels
        return int(exif.get(_ORIENTATION, 1))

    def read(self, window: Window | None = None) -> Raster:
        """As `RasterFile.read`; a whole JPEG may come smaller than `width` and `height` where `min_size` allows it."""
        if window or not self.options.min_size or self._image.format not in ("JPEG", "MPO"):
            return super().read(window)
        with explain(self.name):
            image = Image.open(self._file, formats=["JPEG"])
            image.draft(None, (self.options.min_size, self.options.min_size))
            return Raster(pixels=self._as_8_bit(image), white=255.0, picture=True)

    def _decode_whole(self) -> Raster:
        if self._bits <= 8:
            return Raster(pixels=self._as_8_bit(self._image), white=255.0, picture=True)
        return Raster(pixels=self._as_deep(), white=float(2**self._bits - 1), picture=True)

    def _as_8_bit(self, image: Image.Image) -> Image.Image:
        return ImageOps.exif_transpose(image).convert("L" if self.num_bands == 1 else "RGB")

    def _as_deep(self) -> NDArray[Any]:
        """Numbers of 9 to 16 bits (bands, height, width); Pillow holds them only of grey images."""
        image = self._image
        if image.mode in _GREY_16_BIT and (image.mode != "I" or self._png):
            grey = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)[None]
            inverted = isinstance(image, TiffImageFile) and image.tag_v2.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
            return np.subtract(np.uint16(2**self._bits - 1), grey) if inverted else grey
        if self._png is None:
            raise InvalidInputError(
                f"{self._bits} bits per channel, of which only 8 would be read.",
                hint="Save it with 8 bits per channel, or as 16-bit grey without alpha.",
            )
        return self._grey_of_16_bit_png() if self._is_deep_grey_alpha else self._colour_of_16_bit_png()

    def _colour_of_16_bit_png(self) -> NDArray[Any]:
        """Pillow keeps the first byte of each number. Read as little-endian, the second one is the first."""
        high = np.asarray(ImageOps.exif_transpose(self._image))
        low_image = Image.open(self._file, formats=["PNG"])
        codec, box, offset, raw_mode = low_image.tile[0]
        low_image.tile = [(codec, box, offset, str(raw_mode).replace("16B", "16L"))]  # type: ignore[list-item]
        low = np.asarray(ImageOps.exif_transpose(low_image))
        values: NDArray[np.uint16] = high.astype(np.uint16) << np.uint16(8) | low
        return values[..., :3].transpose(2, 0, 1)

    def _grey_of_16_bit_png(self) -> NDArray[Any]:
        """Grey with alpha, two bytes each, is stored as 8-bit RGBA is: R and G are then the bytes of the grey."""
        self._file.seek(0)
        most = 8 * self.width * self.height + _MOST_BESIDE_PIXELS
        data = self._file.read(most + 1)
        if len(data) > most:
            raise InvalidInputError(f"a PNG of more than {most} bytes for {self.width}x{self.height} pixels.")
        relabelled = io.BytesIO(png.relabelled(data, bits=8, colour_type=png.RGBA))
        with Image.open(relabelled, formats=["PNG"]) as image:
            values = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
        return (values[..., 0] << np.uint16(8) | values[..., 1])[None]


def _refuse_several(image: Image.Image) -> None:
    # Counting the frames of a GIF means walking through all of it; whether there is a second one is soon known.
    several = image.format == "GIF" and getattr(image, "is_animated", False)
    frames = 2 if several else getattr(image, "n_frames", 1)
    # A JPEG from a phone may carry a second picture (MPO); its first one is the photograph.
    if frames > 1 and image.format != "MPO":
        count = "several" if several else frames
        raise InvalidInputError(f"{count} frames or pages, where one picture was expected.")
