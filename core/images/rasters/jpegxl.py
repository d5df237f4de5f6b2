"""Read JPEG XL through imagecodecs. Size and depth are read from the codestream first (ISO/IEC 18181-1, annex D)."""

from __future__ import annotations

from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.extras import import_extra
from zoo.core.images.rasters.boxes import boxes
from zoo.core.images.rasters.decoding_memory import check_memory, check_whole_size
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.photograph_header import several_frames
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.raster_file import WholeRasterFile

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_HEADER = 64  # bytes, a few of which hold size and depth
_BYTES_PER_PIXEL = 32  # the decoder uses floating point, for all channels
_MOST_EXTRA_CHANNELS = 4
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIDE = ((0, 9), (0, 13), (0, 18), (0, 30))  # (offset, bits) of the four encodings of a number
_DEPTH = ((8, 0), (10, 0), (12, 0), (1, 6))


def is_jpegxl(start: bytes) -> bool:
    """Whether the file is JPEG XL, bare or in its container."""
    return start.startswith((_CODESTREAM, _CONTAINER))


class _Header(NamedTuple):
    width: int
    height: int
    orientation: int
    bits: int
    floating: bool


class JpegXl(WholeRasterFile):
    """A JPEG XL picture, which the decoder turns upright."""

    def __init__(self, file: BinaryIO, options: ReadOptions) -> None:
        super().__init__(options)
        self._imagecodecs = import_extra("imagecodecs", "jxl", "Reading JPEG XL")
        self._file = file
        header = _read_header(file)
        self._bits, self._floating = header.bits, header.floating
        self.width, self.height = header.width, header.height
        if header.orientation > 1:
            self.decided = {"orientation": header.orientation}
        if header.orientation > 4:
            self.width, self.height = self.height, self.width
        check_whole_size(self.width, self.height, 1, options)
        pixels = self.width * self.height
        check_memory(file, pixels * _BYTES_PER_PIXEL, pixels, options)
        if self._floating or self._bits > 16:
            raise InvalidInputError("a JPEG XL picture of floating-point numbers, which is not read.")
        self._values = self._channels_last()
        self.num_bands = 1 if self._values.ndim == 2 or self._values.shape[2] < 3 else 3

    def _channels_last(self) -> NDArray[Any]:
        """Decode at once: the number of channels is not in the part that is cheap to read."""
        self._file.seek(0)
        values: NDArray[Any] = self._imagecodecs.jpegxl_decode(self._file.read())
        if values.ndim > 3 or values.shape[:2] != (self.height, self.width):
            if values.ndim > 2 and values.shape[1:3] == (self.height, self.width):
                raise several_frames(values.shape[0], "an animated JPEG XL")
            raise InvalidInputError(f"pixels of shape {values.shape}, where {self.width}x{self.height} were expected.")
        return values

    def _decode_whole(self) -> Raster:
        values = self._values
        bands = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        if values.dtype.kind != "u":
            raise InvalidInputError(f"a JPEG XL picture of {values.dtype}, where integers were expected.")
        white = float(2**self._bits - 1)
        if values.max() > white:  # the decoder scaled the values to its type
            white = float(np.iinfo(values.dtype).max)
        return Raster(pixels=np.ascontiguousarray(bands[: self.num_bands]), white=white, picture=True)


class _Bits:
    """The bits of a codestream, starting with the lowest of each byte."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        self._left -= count
        if self._left < 0:
            raise InvalidInputError("a JPEG XL file that ends within its header.")
        return value

    def choose(self, ways: tuple[tuple[int, int], ...]) -> int:
        offset, bits = ways[self.take(2)]
        return offset + self.take(bits)


def _read_header(file: BinaryIO) -> _Header:
    file.seek(0)
    data = file.read(_HEADER)
    if data.startswith(_CONTAINER):
        end = file.seek(0, 2)
        inner = next((box for box in boxes(file, 0, end) if box.kind in (b"jxlc", b"jxlp")), None)
        if inner is None:
            raise InvalidInputError("a JPEG XL file without a codestream.")
        file.seek(inner.start + (4 if inner.kind == b"jxlp" else 0))
        data = file.read(_HEADER)
    if not data.startswith(_CODESTREAM):
        raise InvalidInputError("a JPEG XL file without a codestream.")
    bits = _Bits(data[2:])
    width, height = _size(bits)
    if bits.take(1):  # all by default
        return _Header(width, height, 1, 8, False)
    orientation = 1
    if bits.take(1):
        orientation += bits.take(3)
        if bits.take(1):  # the size that a viewer should show
            _size(bits)
        if bits.take(1):  # a preview
            _preview(bits)
        if bits.take(1):
            raise several_frames("several", "an animated JPEG XL")
    floating = bool(bits.take(1))
    depth = bits.choose(((32, 0), (16, 0), (24, 0), (1, 6)) if floating else _DEPTH)
    if floating:
        bits.take(4)
    bits.take(1)
    extra = bits.choose(((0, 0), (1, 0), (2, 4), (1, 12)))
    if extra > _MOST_EXTRA_CHANNELS:
        raise InvalidInputError(f"a JPEG XL picture of {extra} channels besides its colours.")
    return _Header(width, height, orientation, depth, floating)


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)
    height = 8 * (1 + bits.take(5)) if small else 1 + bits.choose(_SIDE)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        return height * across // down, height
    return (8 * (1 + bits.take(5)) if small else 1 + bits.choose(_SIDE)), height


def _preview(bits: _Bits) -> None:
    eighths = bits.take(1)
    ways = ((16, 0), (32, 0), (1, 5), (33, 9)) if eighths else ((1, 6), (65, 8), (321, 10), (1345, 12))
    bits.choose(ways)
    if not bits.take(3):
        bits.choose(ways)
