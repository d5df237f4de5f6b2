"""Read plain pictures in TIFF through Pillow: palette, inks, colour spaces, fax and JPEG, without an extra package."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters import tiff_codecs, tiff_directory, tiff_header
from zoo.core.images.rasters.decoder_words import silence_libtiff
from zoo.core.images.rasters.georeference import from_tags
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.photograph import Photograph
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.tiff_header import TiffHeader
from zoo.core.images.rasters.tiff_segments import Segments
from zoo.core.images.rasters.validity import stored_as


def can_read(header: TiffHeader) -> bool:
    """Whether Pillow reads the file without loss; only a palette index may mark missing data."""
    compression = header.first.compression
    by_index = header.photometric == tiff_header.PALETTE and compression != tiff_header.OLD_JPEG
    known = compression in tiff_codecs.PILLOW and header.mask is None
    return header.suits_pillow and known and (header.nodata is None or by_index)


class PaletteWithNodata(Photograph):
    """Palette colours with one index for missing data, as in GDAL's mask."""

    beside_the_picture = 7

    def __init__(self, file: BinaryIO, header: TiffHeader, options: ReadOptions) -> None:
        super().__init__(file, options)
        assert header.nodata is not None
        self._nodata = stored_as(header.nodata, np.dtype(np.uint8))
        self._stated = header.first.text(tiff_header.NODATA)

    def _decode_whole(self) -> Raster:
        image, self._image = self._image or self._open(), None
        image.load()
        if image.mode != "P":
            raise InvalidInputError(
                f"a palette that is read as {image.mode}, where the nodata value is not a palette index."
            )
        indices = self._upright(image, image)
        return Raster(
            pixels=np.asarray(indices.convert("RGB")).transpose(2, 0, 1),
            white=255.0,
            valid=None if self._nodata is None else np.asarray(indices) != self._nodata,
            picture=True,
            facts={"nodata": {"value": self._stated, "per": "pixel"}},
        )


def open_picture(file: BinaryIO, header: TiffHeader, options: ReadOptions) -> Photograph:
    """Open the one page to read with Pillow, in memory, with the checked tags."""
    page = header.first
    silence_libtiff()
    if page.compression == tiff_header.OLD_JPEG:  # its tables are somewhere in the file
        file.seek(0)
        photograph = Photograph(file, options)
    else:
        if page.width * page.height > options.max_pixels:
            raise _too_large(header, options)
        segments = Segments(file, page, header.order)
        parts = segments.everything()
        if not all(parts):
            raise InvalidInputError("a picture with missing strips or tiles.")
        alone = tiff_directory.one_page(segments.template, header.order, parts)
        indexed = header.nodata is not None
        photograph = PaletteWithNodata(alone, header, options) if indexed else Photograph(alone, options)
    photograph.georeference = from_tags(header.tags) if header.is_upright else None
    return photograph


def _too_large(header: TiffHeader, options: ReadOptions) -> InvalidInputError:
    """The error for a picture over the limit: Pillow has no windows; tifffile and imagecodecs read it by --tile."""
    size = f"{header.width}x{header.height} pixels, more than the limit of {options.max_pixels}"
    if header.has_plain_numbers and header.is_upright and tiff_codecs.is_read(header, header.first):
        return InvalidInputError(
            f"{size}, and reading it in tiles needs tifffile and imagecodecs.",
            hint="Install them: pip install 'zoo-cli[tiff]'; or raise the limit (--max-pixels).",
        )
    return InvalidInputError(
        f"{size}, in a form that is only read as a whole.", hint="Raise the limit: --max-pixels, or save it as RGB."
    )
