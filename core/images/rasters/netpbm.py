"""Read binary PGM and PPM (netpbm) with any maximum value; Pillow would reduce colour to 8 bits."""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np

from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters.decoding_memory import check_memory, check_whole_size
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.photograph_header import several_frames
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.raster_file import WholeRasterFile

_BLANK = rb"(?:\s|#[^\n\r]*[\n\r])+"
_HEADER = re.compile(rb"P([56])" + _BLANK + rb"(\d{1,9})" + _BLANK + rb"(\d{1,9})" + _BLANK + rb"(\d{1,5})\s")
_MOST_HEADER = 1 << 12  # bytes, comments included
SIGNATURES = (b"P5", b"P6")


def is_netpbm(start: bytes) -> bool:
    """Whether the file is a binary PGM or PPM."""
    return start[:2] in SIGNATURES and start[2:3] in (b" ", b"\t", b"\n", b"\r", b"#")


class Netpbm(WholeRasterFile):
    """Grey (P5) or colour (P6)."""

    def __init__(self, file: BinaryIO, options: ReadOptions) -> None:
        super().__init__(options)
        self._file = file
        file.seek(0)
        header = _HEADER.match(file.read(_MOST_HEADER))
        if header is None:
            raise InvalidInputError("a PGM or PPM whose header is damaged.")
        kind, self.width, self.height, self._most = map(int, header.groups())
        if not 0 < self._most < 65536:
            raise InvalidInputError(f"a largest value of {self._most}, where 1 to 65535 was expected.")
        self.num_bands = 1 if kind == 5 else 3
        check_whole_size(self.width, self.height, 1, options)
        self._dtype = np.dtype(np.uint8 if self._most < 256 else ">u2")
        self._start = header.end()
        self._bytes = self.width * self.height * self.num_bands * self._dtype.itemsize
        check_memory(file, 2 * self._bytes, self.width * self.height, options)

    def _decode_whole(self) -> Raster:
        self._file.seek(self._start)
        data = self._file.read(self._bytes)
        if len(data) < self._bytes:
            raise InvalidInputError("a PGM or PPM that ends early.")
        if self._file.read(2) in SIGNATURES:
            raise several_frames("several")
        values = np.frombuffer(data, self._dtype).reshape(self.height, self.width, self.num_bands)
        bands = np.ascontiguousarray(values.transpose(2, 0, 1), self._dtype.newbyteorder("="))
        return Raster(pixels=bands, white=float(self._most), picture=True)
