"""Opening an image file by what is in it, whatever its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO

from zoo.core.errors import InvalidInputError
from zoo.core.extras import has_package
from zoo.core.inputs.image_input import ImageInput
from zoo.core.inputs.open_input import open_input
from zoo.core.rasters.bands import select_bands
from zoo.core.rasters.georeference import from_tags
from zoo.core.rasters.options import ReadOptions
from zoo.core.rasters.raster import Raster
from zoo.core.rasters.raster_file import RasterFile, explain, unknown_format

_DEFAULTS = ReadOptions()
_SNIFFED = 512  # bytes
_PHOTOGRAPHS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ZIP = (b"PK\3\4", b"PK\5\6")


@contextmanager
def open_raster(item: ImageInput, options: ReadOptions = _DEFAULTS) -> Iterator[RasterFile]:
    """An image file, open: its size and bands are known from its header, `read` decodes.

    Only that file is read: what it refers to (a sidecar file, a URL) is not, but for virtual rasters where
    `options.allow_vrt` says so.

    Raises:
        NotFoundError: it is gone.
        InvalidInputError: it is in no known format, damaged, or a package is missing that reads it.
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
    """Decode one image, or the window of it that the item names, for a model of `in_chans` channels.

    Raises:
        InvalidInputError: as of `open_raster`, `RasterFile.read` and `select_bands`, beginning with the file's name.
    """
    if not isinstance(item, ImageInput):
        item = ImageInput(os.fspath(item), os.fspath(item))
    options = options or ReadOptions(in_chans=in_chans)
    with open_raster(item, options) as file:
        raster = file.read(item.window)
    with explain(item.source):
        return select_bands(raster, options.bands, in_chans)


def _open(file: BinaryIO, item: ImageInput, options: ReadOptions) -> RasterFile:
    """Readers are imported where they are needed: a run over photographs needs one of them."""
    start = file.read(_SNIFFED)
    file.seek(0)
    if start.startswith(_TIFF):
        return _open_tiff(file, item, options)
    if start.startswith(_PHOTOGRAPHS) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
        from zoo.core.rasters.photograph import Photograph

        return Photograph(file, options)
    if start.startswith(b"\x93NUMPY"):
        from zoo.core.rasters.arrays import open_npy

        return open_npy(file, options)
    if start.startswith(_ZIP):
        from zoo.core.rasters.arrays import open_npz

        return open_npz(file, options)
    if start[128:132] == b"DICM":
        from zoo.core.rasters.dicom import Dicom

        return Dicom(file, options)
    if b"<VRTDataset" in start:
        from zoo.core.rasters.geo import open_vrt

        return open_vrt(file, item, options)
    raise unknown_format() if start else InvalidInputError("an empty file.")


def _open_tiff(file: BinaryIO, item: ImageInput, options: ReadOptions) -> RasterFile:
    from zoo.core.rasters import tiff_header

    header = tiff_header.read_header(file)
    file.seek(0)
    header.check(options)
    plain = header.num_pages == 1 and header.has_plain_numbers and header.is_upright
    # Beside a place on the ground, alpha says where there is data; of a photograph it is dropped.
    alpha_counts = bool(options.bands) or options.in_chans == header.samples or header.is_georeferenced
    if options.geo or (plain and header.is_georeferenced and has_package("rasterio")):
        from zoo.core.rasters.geo import open_geotiff

        return open_geotiff(file, item, header, options)
    if header.suits_pillow and header.nodata is None and not (header.alpha is not None and alpha_counts):
        from zoo.core.rasters.photograph import Photograph

        photograph = Photograph(file, options)
        photograph.georeference = from_tags(header.tags) if header.is_upright else None
        return photograph
    from zoo.core.rasters.tiff import TiffRaster

    return TiffRaster(file, header, options)
