"""Read HEIC and HEIF through pillow-heif, whose decoder turns the picture upright; 10 and 12 bits are kept."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from zoo.core.errors import InvalidInputError
from zoo.core.extras import import_extra
from zoo.core.images.rasters.boxes import read_heif_header
from zoo.core.images.rasters.decoding_memory import check_memory, check_whole_size
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.raster_file import WholeRasterFile

_BYTES_PER_PIXEL = 12


class Heif(WholeRasterFile):
    """The primary picture, which every HEIF file names; the file may also hold thumbnails, depth maps and more."""

    def __init__(self, file: BinaryIO, options: ReadOptions) -> None:
        super().__init__(options)
        pillow_heif = import_extra("pillow_heif", "heif", "Reading HEIC and HEIF")
        header = read_heif_header(file)
        check_whole_size(header.width, header.height, 1, options)
        pixels = header.width * header.height
        check_memory(file, pixels * _BYTES_PER_PIXEL * (1 + (header.bits > 8)), pixels, options)
        file.seek(0)
        self._heif = pillow_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        self.width, self.height = self._heif.size
        check_whole_size(self.width, self.height, 1, options)
        self._bits = int(self._heif.info.get("bit_depth") or header.bits)
        self.num_bands = 1 if self._heif.mode.startswith(("L", "I")) else 3

    def _decode_whole(self) -> Raster:
        values = np.asarray(self._heif)
        bands = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        if bands.shape[1:] != (self.height, self.width):
            raise InvalidInputError("a HEIF file whose header and picture differ in size.")
        return Raster(
            pixels=np.ascontiguousarray(bands[: self.num_bands]), white=float(2**self._bits - 1), picture=True
        )
