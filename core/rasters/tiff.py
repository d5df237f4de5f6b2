"""TIFF of any number of bands, through tifffile and imagecodecs: samples side by side, in planes, or a page a band.

A window reads and decodes only the strips or tiles that it touches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.extras import has_package, import_extra, missing_extra
from zoo.core.inputs.image_input import Window
from zoo.core.rasters import tiff_header
from zoo.core.rasters.georeference import from_tags
from zoo.core.rasters.options import ReadOptions
from zoo.core.rasters.raster import Raster
from zoo.core.rasters.raster_file import RasterFile
from zoo.core.rasters.tiff_header import TiffHeader

_UNCOMPRESSED = 1
_COMPRESSIONS = (_UNCOMPRESSED, 5, 8, 32773, 32946, 34925, 34926, 50000)
"""None, LZW, Deflate, PackBits, LZMA, Zstandard: what they unpack to is bounded by the tile. JPEG and its like carry a
size of their own, which may be anything.
"""

_MIN_COMPRESSED = 1 << 16
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType


class TiffRaster(RasterFile):
    """A TIFF whose bands are the samples of its page, or its pages of one sample each."""

    def __init__(self, file: BinaryIO, header: TiffHeader, options: ReadOptions) -> None:
        super().__init__(options)
        if not header.has_plain_numbers:
            raise InvalidInputError(
                f"{header.samples} samples of {header.bits} bits in the colour space {header.photometric} of TIFF, "
                "where grey, RGB or bands were expected."
            )
        if not header.is_upright:
            raise InvalidInputError(
                f"orientation {header.value(tiff_header.ORIENTATION, 1)}, which is applied to 8-bit pictures and grey "
                "ones only.",
                hint="Save it upright.",
            )
        tifffile = import_extra("tifffile", "tiff", "Reading this kind of TIFF (many bands, deep colour, numbers)")
        self._file = file
        self._header = header
        self._tiff = tifffile.TiffFile(file)
        everything = [self._tiff.pages[i].aspage() for i in range(len(self._tiff.pages))]
        self._pages = [page for page in everything if not page.subfiletype & (_REDUCED | _MASK)]
        first = self._pages[0]
        self.height, self.width = first.imagelength, first.imagewidth
        masks = (page for page in everything if page.subfiletype & _MASK and page.shape == (self.height, self.width))
        self._mask = next(masks, None)
        self._samples = _band_samples(header, options)
        self.num_bands = len(self._samples) if len(self._pages) == 1 else len(self._pages)
        self.georeference = from_tags(header.tags)
        for page in (*self._pages, *([self._mask] if self._mask else ())):
            _check_codec(page)
        for page in self._pages:
            self._check_page(page)

    def _check_page(self, page: Any) -> None:
        first = self._pages[0]
        if page.dtype is None or page.dtype.kind not in "biuf" or page.dtype.itemsize > 8:
            raise InvalidInputError(
                f"samples of {page.bitspersample} bits in format {page.sampleformat}, where one type of integers or "
                "floating point numbers was expected for all bands."
            )
        if len(self._pages) > 1 and page.samplesperpixel != 1:
            raise InvalidInputError(
                f"{len(self._pages)} frames or pages of {page.samplesperpixel} samples, where one picture was "
                "expected.",
            )
        shape, expected = ((p.imagewidth, p.imagelength, p.dtype.name) for p in (page, first))
        if shape != expected:
            raise InvalidInputError(
                f"pages that do not fit together as bands: {_as_text(expected)} and {_as_text(shape)}."
            )
        if page.imagedepth != 1:
            raise InvalidInputError(f"a volume of {page.imagedepth} slices, where an image was expected.")

    def _decode(self, window: Window) -> Raster:
        # A contiguous alpha sample is decoded with the rest and then left out.
        planes = [_read_page(self._file, page, window) for page in self._pages]
        pixels = planes[0][self._samples] if len(planes) == 1 else np.concatenate(planes)
        valid = self._valid(pixels, window)
        alpha = self._header.alpha
        if alpha is not None and alpha not in self._samples and self._header.is_georeferenced:
            opaque = planes[0][alpha] != 0
            valid = opaque if valid is None else valid & opaque
        if pixels.dtype.kind == "b":
            pixels = pixels.view(np.uint8)
        kind, bits = pixels.dtype.kind, self._header.bits
        white = 1.0 if kind == "f" else float(2 ** (bits - (kind == "i")) - 1)
        if self._header.photometric == tiff_header.WHITE_IS_ZERO and kind == "u":
            pixels = pixels.dtype.type(white) - pixels
        return Raster(pixels=pixels, white=white, valid=valid, picture=self._header.is_picture)

    def _valid(self, pixels: NDArray[Any], window: Window) -> NDArray[Any] | None:
        nodata, valid = self._header.nodata, None
        if nodata is not None and not np.isnan(nodata):
            with np.errstate(over="ignore"):  # a number that the type cannot hold is nowhere
                valid = pixels != nodata
        if self._mask is not None:
            unmasked = _read_page(self._file, self._mask, window)[0] != 0
            valid = unmasked if valid is None else valid & unmasked
        return valid

    def close(self) -> None:
        self._tiff.close()


def _as_text(page: tuple[int, int, str]) -> str:
    return f"{page[0]}x{page[1]} {page[2]}"


def _band_samples(header: TiffHeader, options: ReadOptions) -> list[int]:
    """The samples that are bands: declared alpha only where the model reads as many, or bands are chosen."""
    keep_alpha = bool(options.bands) or options.in_chans == header.samples
    return [i for i in range(header.samples) if keep_alpha or i != header.alpha]


def _check_codec(page: Any) -> None:
    if page.compression not in _COMPRESSIONS:
        raise InvalidInputError(
            f"a TIFF of many bands or numbers with {_codec(page)} compression, which is not read.",
            hint="Rewrite it: gdal_translate -co COMPRESS=DEFLATE IN.tif OUT.tif",
        )
    packed = page.dtype is not None and page.dtype.kind != "b" and page.bitspersample % 8
    if (page.compression != _UNCOMPRESSED or page.predictor != 1 or packed) and not has_package("imagecodecs"):
        raise missing_extra("imagecodecs", "tiff", f"Reading a TIFF with {_codec(page)} compression")


def _codec(page: Any) -> str:
    return str(getattr(page.compression, "name", page.compression))


def _read_page(file: BinaryIO, page: Any, window: Window) -> NDArray[Any]:
    """Samples of a window of one page (samples, height, width), native; no data or 0 where nothing is stored."""
    left, top, width, height = window
    dtype = page.dtype.newbyteorder("=")
    pixels = np.full((page.samplesperpixel, height, width), page.nodata, dtype)
    for index in _segments(page, window):
        data = _segment_bytes(file, page, index)
        segment, (plane, _, y, x, sample), _ = page.decode(data, index)
        if segment is None:
            continue
        values = segment[0].transpose(2, 0, 1)  # (samples, rows, columns) of one slice
        band = plane + sample
        first_y, last_y = max(y, top), min(y + values.shape[1], top + height)
        first_x, last_x = max(x, left), min(x + values.shape[2], left + width)
        if first_y < last_y and first_x < last_x:
            part = values[:, first_y - y : last_y - y, first_x - x : last_x - x]
            pixels[band : band + len(part), first_y - top : last_y - top, first_x - left : last_x - left] = part
    return pixels


def _segments(page: Any, window: Window) -> Iterator[int]:
    """Numbers of the strips or tiles that a window touches: across, then down, then plane by plane."""
    tile_height, tile_width = page.chunks[:2]
    across, down = -(-page.imagewidth // tile_width), -(-page.imagelength // tile_height)
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    rows = range(window.top // tile_height, (window.top + window.height - 1) // tile_height + 1)
    columns = range(window.left // tile_width, (window.left + window.width - 1) // tile_width + 1)
    for plane in range(planes):
        for row in rows:
            yield from (plane * across * down + row * across + column for column in columns)


def _segment_bytes(file: BinaryIO, page: Any, index: int) -> bytes | None:
    if index >= min(len(page.dataoffsets), len(page.databytecounts)):
        raise InvalidInputError(f"the TIFF has no strip or tile {index}.")
    offset, count = page.dataoffsets[index], page.databytecounts[index]
    if not count or not offset:
        return None
    decoded = int(np.prod(page.chunks)) * max(page.dtype.itemsize, 1)
    if count > 2 * decoded + _MIN_COMPRESSED:
        raise InvalidInputError(f"strip or tile {index} takes {count} bytes for {decoded} bytes of pixels.")
    file.seek(offset)
    data = file.read(count)
    if len(data) < count:
        raise InvalidInputError(f"strip or tile {index} is cut short: the file ends early.")
    return data
