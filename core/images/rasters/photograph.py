"""Photographs, decoded by Pillow without losing anything quietly.

8-bit images of any mode (palette, CMYK, with alpha) become grey or RGB as Pillow's `convert` does it, alpha dropped,
colour profiles left alone. Deeper grey and colour keeps its bits; a depth that Pillow would cut down is refused.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.image_input import Window
from zoo.core.images.rasters import png
from zoo.core.images.rasters.decoding_memory import check_memory, check_whole_size
from zoo.core.images.rasters.library_warnings import ignore_warnings
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.orientation import SIDEWAYS, turn_by, turned
from zoo.core.images.rasters.photograph_header import read_header, several_frames
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.raster_file import WholeRasterFile, explain

_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_BITS_PER_SAMPLE = 258
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_MOST_BESIDE_PIXELS = 1 << 24  # bytes
_ORIENTATION = 0x0112
_GREY_8_BIT = ("1", "L", "LA", "La")
_GREY_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_ONE_BYTE = ("1", "L", "P")
_FOR_THE_MODEL: dict[tuple[int, int | None], int] = {(1, 3): 5, (3, 1): 1}
"""Bytes per pixel beside the picture, to make of so many bands so many: Pillow gives a colour four bytes."""


class Photograph(WholeRasterFile):
    """A JPEG, PNG, WebP, AVIF, JPEG 2000, BMP, GIF or plain TIFF. Upright, as its EXIF says."""

    beside_the_picture = 0
    """Bytes per pixel that a subclass takes to make of Pillow's picture what it gives."""

    def __init__(self, file: BinaryIO, options: ReadOptions) -> None:
        super().__init__(options)
        self._file = file
        # What Pillow has to say of metadata concerns nobody here, and must not reach stderr from a decoding process.
        ignore_warnings(r"PIL\.", UserWarning, Image.DecompressionBombWarning)
        # Pillow has a limit of its own, for all who use it: it is raised where more was asked for, never lowered.
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, options.max_pixels)
        self._header = read_header(file, options)
        image = self._open()
        self._is_png = image.format == "PNG"
        self._bits = _bits_of_tiff(image) if isinstance(image, TiffImageFile) else self._header.bits
        turn = _turn(image) if image.format in ("TIFF", "AVIF") else self._header.turn
        self.decided = dict(turned(turn))
        self.width, self.height = self._stored_size(image)
        if turn in SIDEWAYS:
            self.width, self.height = self.height, self.width
        grey = (*_GREY_8_BIT, *_GREY_16_BIT)
        self.num_bands = 1 if image.mode in grey or self._header.deep_grey_alpha else 3
        self._check_memory(image, turn is not None)
        self._image: Image.Image | None = image

    def _open(self) -> Image.Image:
        image = Image.open(self._header.stream, formats=[self._header.pillow_format])  # type: ignore[arg-type]
        check_whole_size(*image.size, 1, self.options)
        _refuse_several(image)
        return image

    def _stored_size(self, image: Image.Image) -> tuple[int, int]:
        if isinstance(image, TiffImageFile):  # whose `size` is of the upright image, in some versions of Pillow
            return image.tag_v2[_TIFF_WIDTH], image.tag_v2[_TIFF_HEIGHT]
        if self._header.size is not None and self._header.pillow_format != "AVIF" and image.size != self._header.size:
            raise InvalidInputError("a header that states two different sizes of the picture.")
        return image.size

    def _check_memory(self, image: Image.Image, turned: bool) -> None:
        stored = 1 if image.mode in _ONE_BYTE else 2 if image.mode.startswith("I;16") else 4
        given = stored if self._bits > 8 else 1 if self.num_bands == 1 else 4
        converted = given if self._bits <= 8 and image.mode not in ("L", "RGB") else 0
        for_the_model = _FOR_THE_MODEL.get((self.num_bands, self.options.in_chans), 0)
        per_pixel = stored + converted + turned * given + for_the_model + self._header.extra_bytes
        per_pixel += self.beside_the_picture
        width, height = self._header.size or image.size  # of AVIF, what its data say, not its boxes
        needed = int(width * height * per_pixel) + self._header.fixed_bytes
        check_memory(self._file, needed, width * height, self.options, self._header.coded_bytes)

    def read(self, window: Window | None = None) -> Raster:
        """As `RasterFile.read`; a whole JPEG may come smaller than `width` and `height` where `min_size` allows it."""
        if window or not self.options.min_size or self._header.pillow_format != "JPEG":
            return super().read(window)
        with explain(self.name):
            image, self._image = self._image or self._open(), None
            image.draft(None, (self.options.min_size, self.options.min_size))
            return Raster(pixels=self._as_8_bit(image), white=255.0, picture=True, facts=dict(self.decided))

    def _decode_whole(self) -> Raster:
        # Let go of it: beside what is made of it, nobody needs it again.
        image, self._image = self._image or self._open(), None
        if self._bits <= 8:
            return Raster(pixels=self._as_8_bit(image), white=255.0, picture=True)
        return Raster(pixels=self._as_deep(image), white=float(2**self._bits - 1), picture=True)

    def _as_8_bit(self, image: Image.Image) -> Image.Image:
        mode = "L" if self.num_bands == 1 else "RGB"
        image.load()
        plain = image._new(image.im) if image.mode == mode else image.convert(mode)  # `convert` would copy
        return self._upright(plain, image)

    def _upright(self, decoded: Image.Image, image: Image.Image) -> Image.Image:
        """`decoded` turned as `image`, of which it was made, is to be; Pillow may have turned a TIFF already."""
        turn = _turn(image) if image.format in ("TIFF", "AVIF") else self._header.turn
        return decoded if turn is None else decoded.transpose(turn)

    def _as_deep(self, image: Image.Image) -> NDArray[Any]:
        """Numbers of 9 to 16 bits (bands, height, width); Pillow holds them only of grey images."""
        if image.mode in _GREY_16_BIT and (image.mode != "I" or self._is_png):
            image.load()
            grey = np.asarray(self._upright(image, image)).astype(np.uint16)[None]
            if image.format == "JPEG2000":  # whose decoder fills up 16 bits
                return np.right_shift(grey, np.uint16(16 - self._bits))
            inverted = isinstance(image, TiffImageFile) and image.tag_v2.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
            return np.subtract(np.uint16(2**self._bits - 1), grey) if inverted else grey
        if not self._is_png:
            raise InvalidInputError(
                f"{self._bits} bits per channel, of which only 8 would be read.",
                hint="Save it with 8 bits per channel, or as a PNG of 16 bits.",
            )
        return self._grey_of_16_bit_png() if self._header.deep_grey_alpha else self._colour_of_16_bit_png(image)

    def _colour_of_16_bit_png(self, image: Image.Image) -> NDArray[Any]:
        """Pillow keeps the first byte of each number. Read as little-endian, the second one is the first."""
        high = np.asarray(self._upright(image, image))
        low_image = self._open()
        codec, box, offset, raw_mode = low_image.tile[0]  # type: ignore[attr-defined]
        low_image.tile = [(codec, box, offset, str(raw_mode).replace("16B", "16L"))]  # type: ignore[attr-defined]
        low = np.asarray(self._upright(low_image, low_image))
        values: NDArray[np.uint16] = high.astype(np.uint16) << np.uint16(8) | low
        return values[..., :3].transpose(2, 0, 1)

    def _grey_of_16_bit_png(self) -> NDArray[Any]:
        """Grey with alpha, two bytes each, is stored as 8-bit RGBA is: R and G are then the bytes of the grey."""
        self._header.stream.seek(0)
        most = 8 * self.width * self.height + _MOST_BESIDE_PIXELS
        data = self._header.stream.read(most + 1)
        if len(data) > most:
            raise InvalidInputError(f"a PNG of more than {most} bytes for {self.width}x{self.height} pixels.")
        relabelled = io.BytesIO(png.relabelled(data, bits=8, colour_type=png.RGBA))
        with Image.open(relabelled, formats=["PNG"]) as image:
            values = np.asarray(self._upright(image, image)).astype(np.uint16)
        return (values[..., 0] << np.uint16(8) | values[..., 1])[None]


def _turn(image: Image.Image) -> Image.Transpose | None:
    """By Pillow's reading of the tag, where there is no other (TIFF), or where it has seen the decoder's too (AVIF)."""
    return turn_by(image.getexif().get(_ORIENTATION))


def _bits_of_tiff(image: TiffImageFile) -> int:
    """As stored in the file: Pillow's mode does not tell."""
    bits: tuple[int, ...] = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,))
    return max(bits)


def _refuse_several(image: Image.Image) -> None:
    # Counting the frames of a GIF means walking through all of it; whether there is a second one is soon known.
    several = image.format == "GIF" and getattr(image, "is_animated", False)
    frames = 2 if several else getattr(image, "n_frames", 1)
    if frames > 1:
        what = {"GIF": "an animated GIF", "PNG": "an animated PNG", "AVIF": "an image sequence"}
        raise several_frames("several" if several else frames, what.get(image.format or "", ""))
