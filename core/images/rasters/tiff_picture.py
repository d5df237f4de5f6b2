"""Plain pictures in TIFF through Pillow: palette, inks, colour spaces, fax and JPEG, without an extra package."""

from __future__ import annotations

from typing import BinaryIO

from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters import tiff_codecs, tiff_directory, tiff_header
from zoo.core.images.rasters.decoder_words import silence_libtiff
from zoo.core.images.rasters.georeference import from_tags
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.photograph import Photograph
from zoo.core.images.rasters.tiff_header import TiffHeader
from zoo.core.images.rasters.tiff_segments import Segments


def can_read(header: TiffHeader) -> bool:
    """Whether Pillow reads it without loss, and nothing is said of where it has no data."""
    known = header.first.compression in tiff_codecs.PILLOW
    return header.suits_pillow and known and header.nodata is None and header.mask is None


def open_picture(file: BinaryIO, header: TiffHeader, options: ReadOptions) -> Photograph:
    """Pillow is given the one page that is read, in memory, with the tags that were checked."""
    page = header.first
    silence_libtiff()
    if page.compression == tiff_header.OLD_JPEG:  # its tables stand somewhere in the file
        file.seek(0)
        photograph = Photograph(file, options)
    else:
        if page.width * page.height > options.max_pixels:
            raise _too_large(header, options)
        segments = Segments(file, page, header.order)
        parts = segments.everything()
        if not all(parts):
            raise InvalidInputError("a picture of which strips or tiles are not stored.")
        photograph = Photograph(tiff_directory.one_page(segments.template, header.order, parts), options)
    photograph.georeference = from_tags(header.tags) if header.is_upright else None
    return photograph


def _too_large(header: TiffHeader, options: ReadOptions) -> InvalidInputError:
    """Pillow has no windows: such a picture is only read where tifffile and imagecodecs are there, and by --tile."""
    size = f"{header.width}x{header.height} pixels, more than the limit of {options.max_pixels}"
    if header.has_plain_numbers and header.is_upright and tiff_codecs.is_read(header, header.first):
        return InvalidInputError(
            f"{size}, and reading it in tiles needs tifffile and imagecodecs.",
            hint="Install them: pip install 'zoo-cli[tiff]'; or raise the limit (--max-pixels).",
        )
    return InvalidInputError(
        f"{size}, in a form that is only read as a whole.", hint="Raise the limit: --max-pixels, or save it as RGB."
    )
