"""Open an image file by its content, whatever its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from zoo.core.errors import InvalidInputError
from zoo.core.extras import has_package
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.inputs.open_input import open_input
from zoo.core.images.rasters.bands import check_count, select_bands
from zoo.core.images.rasters.georeference import KEY_DIRECTORY
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.raster_file import RasterFile, explain

if TYPE_CHECKING:
    from zoo.core.images.rasters.tiff_header import TiffHeader

_DEFAULTS = ReadOptions()
_SNIFFED = 1024  # bytes
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_LARGE = 1 << 24  # pixels; a larger picture is read by window if possible
_ZIP = (b"PK\3\4", b"PK\5\6")


@contextmanager
def open_raster(item: ImageInput, options: ReadOptions = _DEFAULTS) -> Iterator[RasterFile]:
    """Open an image file: its header gives its size and bands, `read` decodes.

    Only that file is read. A sidecar file or URL that it refers to is read only for virtual rasters with
    `options.allow_vrt`.

    Raises:
        NotFoundError: the file is gone.
        InvalidInputError: it is in no known format or damaged, or the package that reads it is missing.
    """
    with open_input(item) as file:
        with explain(item.source):
            raster_file = _open(file, item, options)
        raster_file.name = item.source
        with closing(raster_file):
            yield raster_file


def read_image(
    item: ImageInput | str | os.PathLike[str], in_chans: int = 3, options: ReadOptions | None = None
) -> Raster:
    """Decode one image, or the window that the item names, for a model of `in_chans` channels.

    Raises:
        InvalidInputError: as in `open_raster`, `RasterFile.read` and `select_bands`; it begins with the file's name.
    """
    if not isinstance(item, ImageInput):
        item = ImageInput(os.fspath(item), os.fspath(item))
    options = options or ReadOptions(in_chans=in_chans)
    with open_raster(item, options) as file:
        with explain(item.source):
            check_count(file.num_bands, options.bands, in_chans)
        raster = file.read(item.window)
    with explain(item.source):
        return select_bands(raster, options.bands, in_chans, options.model_bands)


def _open(file: BinaryIO, item: ImageInput, options: ReadOptions) -> RasterFile:
    """Choose the reader, importing it only when needed: a run over photographs needs only one."""
    start = file.read(_SNIFFED)
    file.seek(0)
    if not start:
        raise InvalidInputError("an empty file.")
    if start.startswith(_TIFF):
        return _open_tiff(file, item, options)
    if start.startswith(b"\x93NUMPY"):
        from zoo.core.images.rasters.arrays import open_npy

        return open_npy(file, options)
    if start.startswith(_ZIP):
        from zoo.core.images.rasters.arrays import open_npz

        return open_npz(file, options)
    if b"<VRTDataset" in start:
        from zoo.core.images.rasters.geo import open_vrt

        return open_vrt(file, item, options)
    from zoo.core.images.rasters.formats import open_picture

    return open_picture(file, start, options)


def _open_tiff(file: BinaryIO, item: ImageInput, options: ReadOptions) -> RasterFile:
    from zoo.core.images.rasters.tiff_header import read_header
    from zoo.core.images.rasters.tiff_stack import planes_of

    found = read_header(file)
    found.check(options)
    header = planes_of(found, options)
    raster = _tiff_reader(file, item, options, found, header)
    raster.decided |= header.choice
    return raster


def _tiff_reader(
    file: BinaryIO, item: ImageInput, options: ReadOptions, found: TiffHeader, header: TiffHeader
) -> RasterFile:
    """The reader of the chosen pages."""
    from zoo.core.images.rasters import geo, tiff, tiff_codecs, tiff_header, tiff_picture

    plain = header.has_plain_numbers and header.is_upright
    by_window = plain and tiff.can_read(header)
    # GDAL has its own JPEG decoder, which gives different colours.
    jpeg = header.is_jpeg_colour or (header.first.compression == tiff_header.JPEG and by_window)
    if options.geo and not jpeg:
        return geo.open_geotiff(file, item, header, options)
    # In a georeferenced file, alpha shows where there is data; in a photograph it is dropped.
    alpha_counts = bool(options.bands) or options.in_chans == header.samples or header.is_georeferenced
    by_pillow = tiff_picture.can_read(header) and not (header.alpha is not None and alpha_counts)
    large = header.width * header.height > min(_LARGE, options.max_pixels)
    in_place = options.geo or (header.is_georeferenced and has_package("tifffile"))
    if by_pillow and not (by_window and (large or in_place)):
        picture = tiff_picture.open_picture(file, header, options)
        if options.geo:
            picture.georeference = geo.read_place(file, item, header)
        return picture
    alone = plain and header.num_pages == found.num_pages == 1 and has_package("rasterio")
    # If two libraries could decode a picture within a TIFF, the values would depend on which is installed.
    sure = header.first.compression in tiff_codecs.GENERAL or not tiff_codecs.is_read(header, header.first)
    if alone and header.is_georeferenced and sure and not by_window:
        return geo.open_geotiff(file, item, header, options)
    raster = tiff.TiffRaster(file, header, options)
    place = raster.georeference or {}
    if options.geo or (alone and KEY_DIRECTORY in header.tags and not {"crs", "transform"} <= place.keys()):
        raster.georeference = geo.read_place(file, item, header)
    return raster
