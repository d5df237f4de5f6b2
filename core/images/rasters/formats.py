"""Choose the reader for a picture by its first bytes, for formats other than TIFF and arrays."""

from __future__ import annotations

from typing import BinaryIO

from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster_file import RasterFile


def open_picture(file: BinaryIO, start: bytes, options: ReadOptions) -> RasterFile:
    """Open a picture, importing only its reader's packages.

    Args:
        file: open, at any position.
        start: its first bytes; less than a kilobyte only if the file is shorter.
        options: how to read it.

    Raises:
        InvalidInputError: no reader exists for its format; the error names the format if it is known.
    """
    from zoo.core.images.rasters.photograph_header import is_photograph

    if is_photograph(start):
        from zoo.core.images.rasters.photograph import Photograph

        return Photograph(file, options)
    from zoo.core.images.rasters.boxes import kind_of_heif

    if kind_of_heif(start) == "HEIC":
        from zoo.core.images.rasters.heif import Heif

        return Heif(file, options)
    from zoo.core.images.rasters.dicom_start import looks_like_dicom

    if looks_like_dicom(start):
        from zoo.core.images.rasters.dicom import Dicom

        return Dicom(file, options)
    from zoo.core.images.rasters.jpegxl import JpegXl, is_jpegxl

    if is_jpegxl(start):
        return JpegXl(file, options)
    from zoo.core.images.rasters.netpbm import Netpbm, is_netpbm

    if is_netpbm(start):
        return Netpbm(file, options)
    from zoo.core.images.rasters.foreign_formats import not_read

    raise not_read(file, start)
