"""Decode photographs with Pillow without silent losses.

8-bit images of any mode (palette, CMYK, with alpha) become grey or RGB by Pillow's `convert`; alpha is dropped, and
colour profiles are ignored. Deeper grey and colour keeps its bits; a depth that Pillow would reduce is refused.
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
"""(bands, channels of the model) -> additional bytes per pixel to convert: Pillow uses four bytes per colour pixel."""


class Photograph(WholeRasterFile):
    """A JPEG, PNG, WebP, AVIF, JPEG 2000, BMP, GIF or plain TIFF, turned upright by its EXIF."""

    beside_the_picture = 0
    """Additional bytes per pixel that a subclass needs to convert Pillow's picture."""

    def __init__(self, file: BinaryIO, options: ReadOptions) -> None:
        super().__init__(options)
        self._file = file
        # Pillow's warnings about metadata are irrelevant here, and must not reach stderr from a decoding process.
        ignore_warnings(r"PIL\.", UserWarning, Image.DecompressionBombWarning)
        # Pillow has its own limit for the whole process: raise it on request, but never lower it.
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
        if isinstance(image, TiffImageFile):  # in some versions of Pillow, its `size` is that of the upright image
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
        width, height = self._header.size or image.size  # for AVIF, the size in its data, not in its boxes
        needed = int(width * height * per_pixel) + self._header.fixed_bytes
        check_memory(self._file, needed, width * height, self.options, self._header.coded_bytes)

    def read(self, window: Window | None = None) -> Raster:
        """Like `RasterFile.read`; `min_size` allows a whole JPEG to be smaller than `width` and `height`."""
        if window or not self.options.min_size or self._header.pillow_format != "JPEG":
            return super().read(window)
        with explain(self.name):
            image, self._image = self._image or self._open(), None
            image.draft(None, (self.options.min_size, self.options.min_size))
            return Raster(pixels=self._as_8_bit(image), white=255.0, picture=True, facts=dict(self.decided))

    def _decode_whole(self) -> Raster:
        # Release the image: nobody needs it again after the conversion.
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
        """Turn `decoded` as `image`, its origin, requires; Pillow may already have turned a TIFF."""
        turn = _turn(image) if image.format in ("TIFF", "AVIF") else self._header.turn
        return decoded if turn is None else decoded.transpose(turn)

    def _as_deep(self, image: Image.Image) -> NDArray[Any]:
        """Values of 9 to 16 bits as (bands, height, width); Pillow supports them only for grey images."""
        if image.mode in _GREY_16_BIT and (image.mode != "I" or self._is_png):
            image.load()
            grey = np.asarray(self._upright(image, image)).astype(np.uint16)[None]
            if image.format == "JPEG2000":  # its decoder scales values to 16 bits
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
        """Decode twice: Pillow keeps the first byte of each value, which is the second when read as little-endian."""
        high = np.asarray(self._upright(image, image))
        low_image = self._open()
        codec, box, offset, raw_mode = low_image.tile[0]  # type: ignore[attr-defined]
        low_image.tile = [(codec, box, offset, str(raw_mode).replace("16B", "16L"))]  # type: ignore[attr-defined]
        low = np.asarray(self._upright(low_image, low_image))
        values: NDArray[np.uint16] = high.astype(np.uint16) << np.uint16(8) | low
        return values[..., :3].transpose(2, 0, 1)

    def _grey_of_16_bit_png(self) -> NDArray[Any]:
        """Decode 16-bit grey with alpha as 8-bit RGBA, which has the same layout: R and G are the grey's bytes."""
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
    """The turn by Pillow's reading of the tag: the only one for TIFF; for AVIF it knows the decoder's turn too."""
    return turn_by(image.getexif().get(_ORIENTATION))


def _bits_of_tiff(image: TiffImageFile) -> int:
    """The bits as stored in the file, which Pillow's mode does not show."""
    bits: tuple[int, ...] = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,))
    return max(bits)


def _refuse_several(image: Image.Image) -> None:
    # Counting the frames of a GIF means reading all of it; finding out whether there is a second one is quick.
    several = image.format == "GIF" and getattr(image, "is_animated", False)
    frames = 2 if several else getattr(image, "n_frames", 1)
    if frames > 1:
        what = {"GIF": "an animated GIF", "PNG": "an animated PNG", "AVIF": "an image sequence"}
        raise several_frames("several" if several else frames, what.get(image.format or "", ""))
