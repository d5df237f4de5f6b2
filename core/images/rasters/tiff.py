"""Read TIFF of any number of bands through tifffile and imagecodecs: interleaved samples, planes, or one page per band.

A window reads and decodes only the strips or tiles that it touches. `tiff_header` has read the file's directories; the
libraries see a rewritten directory, and bytes of pixels.
"""

from __future__ import annotations

import logging
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.extras import has_package, import_extra, missing_extra
from zoo.core.images.inputs.image_input import Window
from zoo.core.images.rasters import tiff_codecs, tiff_header
from zoo.core.images.rasters.gdal_metadata import BandFacts, band_facts, stated
from zoo.core.images.rasters.georeference import from_tags
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.raster_file import RasterFile
from zoo.core.images.rasters.tiff_header import TiffHeader, TiffPage
from zoo.core.images.rasters.tiff_segments import PageReader, Segments
from zoo.core.images.rasters.validity import nodata_rule, stored_as, valid_of

_EXPAND = "Give its pixels their colours: gdal_translate -expand rgb IN.tif OUT.tif"

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # an error reports what matters, or nothing does


def can_read(header: TiffHeader) -> bool:
    """Whether the installed packages can read the file by window."""
    pages = (*header.pages, *([header.mask] if header.mask else ()))
    if not has_package("tifffile") or not all(tiff_codecs.is_read(header, page) for page in pages):
        return False
    return has_package("imagecodecs") or not any(map(tiff_codecs.needs_imagecodecs, pages))


class TiffRaster(RasterFile):
    """A TIFF whose bands are the samples of its page, or its pages with one sample each."""

    def __init__(self, file: BinaryIO, header: TiffHeader, options: ReadOptions) -> None:
        super().__init__(options)
        if not header.has_plain_numbers:
            raise InvalidInputError(
                f"{header.samples} samples of {header.bits} bits in the colour space {header.photometric} of TIFF, "
                "where grey, RGB or bands were expected.",
                hint=_EXPAND if header.photometric == tiff_header.PALETTE else "",
            )
        if not header.is_upright:
            raise InvalidInputError(
                f"orientation {header.value(tiff_header.ORIENTATION, 1)}, which is applied to 8-bit pictures and grey "
                "ones only.",
                hint="Save it upright.",
            )
        tifffile = import_extra("tifffile", "tiff", "Reading this kind of TIFF (many bands, deep colour, numbers)")
        self._header = header
        self.height, self.width = header.height, header.width
        for page in (*header.pages, *([header.mask] if header.mask else ())):
            _check_codec(header, page)
            _check_page(page, header.first)
        self._samples = header.band_samples(options)
        self.num_bands = len(self._samples) if header.num_pages == 1 else header.num_pages
        self.georeference = from_tags(header.tags)
        self.facts = band_facts_of(header, self._samples)
        self.band_names = self.facts.names
        self._pages = [self._reader(tifffile, file, page) for page in header.pages]
        self._mask = self._reader(tifffile, file, header.mask) if header.mask else None
        if len({page.dtype for page in self._pages}) > 1:
            raise InvalidInputError("pages that do not fit together as bands: their types differ.")

    def _reader(self, tifffile: Any, file: BinaryIO, page: TiffPage) -> PageReader:
        return PageReader(tifffile, Segments(file, page, self._header.order), self._header.order)

    def _decode(self, window: Window) -> Raster:
        header = self._header
        alpha = header.alpha if header.is_georeferenced and header.alpha not in self._samples else None
        samples = [*self._samples, *([] if alpha is None else [alpha])] if len(self._pages) == 1 else [0]
        planes = [page.read(window, samples, _fill(header, page.dtype), self.options) for page in self._pages]
        pixels = planes[0] if len(planes) == 1 else np.concatenate(planes)
        opacity = None
        if alpha is not None:
            pixels, opacity = pixels[:-1], pixels[-1]
        if pixels.dtype.kind == "b":
            pixels = pixels.view(np.uint8)
        mask = None if self._mask is None else self._mask.read(window, [0], 0, self.options)[0]
        return as_raster(header, pixels, opacity, mask, self.facts)

    def close(self) -> None:
        for page in (*self._pages, *([self._mask] if self._mask else ())):
            page.close()


def band_facts_of(header: TiffHeader, samples: list[int]) -> BandFacts:
    """Names, scales and offsets of the bands to read, if the file states them."""
    if header.num_pages > 1:
        return BandFacts()
    facts = band_facts(header.first.text(tiff_header.GDAL_METADATA), header.samples)
    names = tuple(facts.names[i] for i in samples) if facts.names else ()
    scales, offsets = (tuple(v[i] for i in samples) if v else () for v in (facts.scales, facts.offsets))
    return stated(names, scales, offsets)


def as_raster(
    header: TiffHeader,
    pixels: NDArray[Any],
    alpha: NDArray[Any] | None,
    mask: NDArray[Any] | None,
    facts: BandFacts,
) -> Raster:
    """The decoded values of a TIFF in the form that all readers return, whichever library decoded them."""
    valid = valid_of(header, pixels, alpha, mask)
    if header.photometric == tiff_header.WHITE_IS_ZERO and pixels.dtype.kind == "u":
        pixels = pixels.dtype.type(header.white) - pixels
    white = header.white
    if header.is_picture and header.bits < 8 and not header.is_georeferenced:
        pixels, white = pixels * np.uint8(255 // int(white)), 255.0  # like Pillow
    stated_nodata = {}
    if header.nodata is not None:
        rule = nodata_rule(header, len(pixels))
        stated_nodata = {"nodata": {"value": header.first.text(tiff_header.NODATA), "per": rule}}
    return Raster(
        pixels=pixels,
        white=white,
        valid=valid,
        picture=header.is_picture,
        scales=facts.scales,
        offsets=facts.offsets,
        facts=stated_nodata,
    )


def _fill(header: TiffHeader, dtype: np.dtype[Any]) -> Any:
    """The value for missing strips or tiles: nodata, or 0."""
    stored = None if header.nodata is None or dtype.kind == "b" else stored_as(header.nodata, dtype)
    return 0 if stored is None else stored


def _check_page(page: TiffPage, first: TiffPage) -> None:
    shape, expected = ((p.width, p.height, p.bits, p.sample_format) for p in (page, first))
    if shape != expected and not page.is_mask:
        raise InvalidInputError(f"pages that do not fit together as bands: {_as_text(expected)} and {_as_text(shape)}.")


def _as_text(page: tuple[int, int, int, int]) -> str:
    width, height, bits, kind = page
    name = {tiff_header.UNSIGNED: "uint", tiff_header.SIGNED: "int", tiff_header.FLOAT: "float"}.get(kind, "format ")
    return f"{width}x{height} {name}{bits}"


def _check_codec(header: TiffHeader, page: TiffPage) -> None:
    if not tiff_codecs.is_read(header, page):
        raise InvalidInputError(
            f"a TIFF of {'many bands or numbers' if not header.is_picture else f'{page.samples} samples'} with "
            f"{tiff_codecs.name(page)} compression, which is not read.",
            hint="Rewrite it: gdal_translate -co COMPRESS=DEFLATE IN.tif OUT.tif"
            + ("; or install rasterio: pip install 'zoo-cli[geo]'" if header.is_georeferenced else ""),
        )
    if tiff_codecs.needs_imagecodecs(page) and not has_package("imagecodecs"):
        raise missing_extra("imagecodecs", "tiff", f"Reading a TIFF with {tiff_codecs.name(page)} compression")
