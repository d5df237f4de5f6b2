"""Georeferenced rasters through rasterio (GDAL): windows, masks, nodata, band names, coordinate systems.

GDAL can follow references from a file to other files and to the network. Here it opens one file, through a descriptor,
in the one format already recognised: no name is interpreted, and no sidecar file or other driver is tried.
"""

from __future__ import annotations

import html
import os
import warnings
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.extras import import_extra
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.inputs.open_input import place_of
from zoo.core.images.rasters.arrays import white_of
from zoo.core.images.rasters.gdal_metadata import BandFacts, stated
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.raster_file import RasterFile
from zoo.core.images.rasters.tiff import as_raster, band_facts_of
from zoo.core.images.rasters.tiff_header import ORIENTATION, TiffHeader
from zoo.core.images.rasters.tiff_segments import Segments

_PURPOSE = "Reading this raster with its georeference"
_NETWORK_DRIVERS = frozenset(
    {"HTTP", "WMS", "WCS", "WMTS", "OGCAPI", "DAAS", "PLMOSAIC", "EEDAI", "STACIT", "STACTA", "DODS", "NGW"}
)
_ENVIRONMENT = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no sidecar files
    "GDAL_PAM_ENABLED": "NO",  # no .aux.xml, read or written
    "GDAL_GEOREF_SOURCES": "INTERNAL",  # no world files
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",  # no URL has this name
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_SKIP": " ".join(sorted(_NETWORK_DRIVERS)),
    "GDAL_CACHEMAX": 64,  # MB
    "GDAL_NUM_THREADS": 1,
}
_MAX_BANDS = 4096  # opening 65,535 bands takes GDAL minutes
_MAX_VRT = 1 << 24  # bytes
_ELSEWHERE = ("/vsi", "://", "<gdal_wms", "<wms", "python")


class GeoRaster(RasterFile):
    """A GDAL dataset, decoded by GDAL. The meaning of its numbers follows from the same header as in `TiffRaster`.

    A virtual raster has no header: its bands, masks and nodata are GDAL's.
    """

    segments: Segments | None = None

    def __init__(self, path: str, driver: str, options: ReadOptions, header: TiffHeader | None, fd: int = -1) -> None:
        super().__init__(options)
        self._fd = fd  # closed with the dataset, which reads through it
        self._rasterio = import_extra("rasterio", "geo", _PURPOSE)
        warnings.filterwarnings("ignore", category=self._rasterio.errors.NotGeoreferencedWarning)
        self._header = header
        with self._rasterio.Env(**_ENVIRONMENT) as environment:
            if driver == "VRT" and _NETWORK_DRIVERS & set(environment.drivers()):
                raise InvalidInputError("GDAL runs with drivers that use the network, so no virtual raster is read.")
            try:
                self._dataset = self._rasterio.open(path, driver=driver)
            except self._rasterio.errors.RasterioIOError as error:
                raise InvalidInputError(f"GDAL could not open it: {str(error).rstrip('.')}.") from error
        dataset = self._dataset
        self.height, self.width = dataset.height, dataset.width
        if header is not None:
            _compare(dataset, header)
        self._bands = self._band_numbers()
        self.num_bands = len(self._bands)
        self.facts = self._band_facts()
        self.band_names = self.facts.names
        self.georeference = self._georeference()
        if any(np.dtype(name).kind not in "iuf" for name in dataset.dtypes):
            raise InvalidInputError(
                f"bands of type {dataset.dtypes[0]}, where integers or floating point were expected."
            )

    def _band_numbers(self) -> list[int]:
        """Band numbers from 1; declared alpha counts only if the model reads that many bands, or bands are chosen."""
        if self._header is not None:
            return [i + 1 for i in self._header.band_samples(self.options)]
        alpha = self._rasterio.enums.ColorInterp.alpha
        every = list(self._dataset.indexes)
        keep_alpha = bool(self.options.bands) or self.options.in_chans == len(every)
        return [i for i in every if keep_alpha or self._dataset.colorinterp[i - 1] != alpha]

    def _band_facts(self) -> BandFacts:
        if self._header is not None:
            return band_facts_of(self._header, [i - 1 for i in self._bands])
        dataset = self._dataset
        values = (dataset.descriptions, dataset.scales, dataset.offsets)
        names, scales, offsets = (tuple(v[i - 1] for i in self._bands) for v in values)
        return stated(tuple(name or "" for name in names), scales, offsets)

    def _georeference(self) -> dict[str, Any] | None:
        found: dict[str, Any] = {}
        crs, transform = self._dataset.crs, self._dataset.transform
        if crs:
            code = crs.to_epsg()
            found["crs"] = f"EPSG:{code}" if code else crs.to_wkt()
        if not transform.is_identity:
            found["transform"] = [float(v) for v in transform[:6]]
        return found or None

    def _decode(self, window: Window) -> Raster:
        area = self._rasterio.windows.Window(*window)
        itemsize = max(np.dtype(self._dataset.dtypes[i - 1]).itemsize for i in self._bands)
        self.options.check_bytes(window.width * window.height * self.num_bands * itemsize)
        if self.segments is not None:
            self.segments.check_window(window, [i - 1 for i in self._bands])
        with self._rasterio.Env(**_ENVIRONMENT):
            pixels = self._dataset.read(self._bands, window=area)
            if self._header is None:
                return self._of_virtual_raster(pixels, area)
            alpha = self._header.alpha
            apart = alpha is not None and self._header.is_georeferenced and alpha + 1 not in self._bands
            opacity = self._dataset.read(alpha + 1, window=area) if apart and alpha is not None else None
            mask = self._dataset.read_masks(1, window=area) if self._header.mask is not None else None
        return as_raster(self._header, pixels, opacity, mask, self.facts)

    def _of_virtual_raster(self, pixels: NDArray[Any], area: Any) -> Raster:
        flags, valid = self._rasterio.enums.MaskFlags, None
        alpha = [i for i in self._bands if self._dataset.colorinterp[i - 1] == self._rasterio.enums.ColorInterp.alpha]
        # A band that is read is not a mask of the others.
        masks = [set(self._dataset.mask_flag_enums[i - 1]) for i in self._bands]
        if any(mask != {flags.all_valid} and not (alpha and flags.alpha in mask) for mask in masks):
            valid = self._dataset.read_masks(self._bands, window=area) != 0
        return Raster(
            pixels=pixels,
            white=self._white(pixels.dtype),
            valid=valid,
            scales=self.facts.scales,
            offsets=self.facts.offsets,
        )

    def _white(self, dtype: np.dtype[Any]) -> float:
        bits = self._dataset.tags(self._bands[0], ns="IMAGE_STRUCTURE").get("NBITS", "")
        if dtype.kind == "u" and bits.isdecimal() and 0 < int(bits) <= 8 * dtype.itemsize:
            return float(2 ** int(bits) - 1)
        return white_of(dtype)

    def close(self) -> None:
        self._dataset.close()
        if self._fd >= 0:
            os.close(self._fd)


def _compare(dataset: Any, header: TiffHeader) -> None:
    """Refuse a file in which GDAL finds a different image than the checked header."""
    kinds = {np.dtype(name).itemsize * 8 for name in dataset.dtypes}
    seen, checked = (dataset.width, dataset.height, dataset.count), (header.width, header.height, header.samples)
    if seen != checked or min(kinds) < header.bits or max(kinds) > max(2 * header.bits, 32):
        raise InvalidInputError("a TIFF in which GDAL finds a different image than its header describes.")


def read_place(file: BinaryIO, item: ImageInput, header: TiffHeader) -> dict[str, Any] | None:
    """Crs and transform of a GeoTIFF whose tags exceed what `from_tags` understands."""
    raster = open_geotiff(file, item, header._replace(page=0), ReadOptions())  # the first page has it
    try:
        return raster.georeference
    finally:
        raster.close()


def open_geotiff(file: BinaryIO, item: ImageInput, header: TiffHeader, options: ReadOptions) -> GeoRaster:
    """Open a GeoTIFF by its descriptor, so that GDAL cannot interpret its name or find neighbouring files."""
    if header.num_pages > 1 or header.page > 1:  # GDAL opens the first page
        raise InvalidInputError(
            f"{header.stored_pages} pages, where a georeferenced image has one page.", hint="Leave out --geo."
        )
    if header.samples > _MAX_BANDS:
        raise InvalidInputError(
            f"{header.samples} bands, more than the {_MAX_BANDS} for which GDAL is asked.", hint="Leave out --geo."
        )
    if not header.has_plain_numbers or not header.is_upright:
        raise InvalidInputError(
            f"the colour space {header.photometric} in orientation {header.value(ORIENTATION, 1)} of TIFF, where "
            "upright grey, RGB or bands were expected.",
            hint="Leave out --geo.",
        )
    segments = Segments(file, header.first, header.order)
    place = place_of(file)
    fd = os.dup(place.fd)
    path = f"/dev/fd/{fd}"
    if item.member:
        path = f"/vsisubfile/{place.offset}_{place.size},{path}"
    try:
        raster = GeoRaster(path, "GTiff", options, header, fd)
        raster.segments = segments
        return raster
    except BaseException:
        os.close(fd)
        raise


def open_vrt(file: BinaryIO, item: ImageInput, options: ReadOptions) -> GeoRaster:
    """Open a virtual raster made of other local files.

    Raises:
        InvalidInputError: `options.allow_vrt` is not set, or the raster refers to something other than local files.
    """
    if not options.allow_vrt:
        raise InvalidInputError(
            "a virtual raster (VRT), which refers to other files.",
            hint="Make a GeoTIFF of it: gdal_translate IN.vrt OUT.tif; or pass --allow-vrt.",
        )
    if item.member:
        raise InvalidInputError("a virtual raster (VRT) within an archive, where its files cannot be found.")
    text = html.unescape(file.read(_MAX_VRT).decode("utf-8", "replace")).lower()
    found = next((mark for mark in _ELSEWHERE if mark in text), None)
    if found or file.read(1):
        raise InvalidInputError(f"a virtual raster of more than local files: it holds {found or 'too much'}.")
    # "/./" keeps GDAL from taking a path for one of its virtual file systems.
    return GeoRaster("/." + os.path.abspath(item.path), "VRT", options, None)
