"""Read the strips and tiles of one page within the file's bounds, decode them, and keep them for the next window."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.image_input import Window
from zoo.core.images.rasters import tiff_codecs, tiff_directory, tiff_header
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.tiff_header import Stored, TiffPage

_MAX_SEGMENTS = 1 << 22
_MIN_COMPRESSED = 1 << 16
_PART = 1 << 20  # bytes of rows to read at once from a long uncompressed strip
_NUMPY_TYPES = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4"}  # by TIFF type
_MAX_AT_ONCE = 1 << 18  # strips and tiles that a window may touch
_KEPT = 1 << 24  # bytes of decoded strips and tiles, per thread
_KEPT_ALONE = 1 << 26  # of a single larger one: otherwise every window would unpack a long strip again


class Segments:
    """The locations of a page's strips or tiles. An uncompressed strip of many rows counts as many short strips."""

    def __init__(self, file: BinaryIO, page: TiffPage, order: str) -> None:
        self._file = file
        self._file_size = file.seek(0, 2)
        self.page = page
        self.columns, self.rows = page.segment_size
        self.samples = page.segment_samples
        self._across = -(-page.width // self.columns)
        self._down = -(-page.height // self.rows)
        self.planes = page.samples // self.samples
        count = self._across * self._down * self.planes
        if count > _MAX_SEGMENTS:
            raise InvalidInputError(f"a TIFF of {count} strips or tiles, more than {_MAX_SEGMENTS}.")
        offsets, sizes = tiff_header.STRIP_OFFSETS, tiff_header.STRIP_BYTES
        if page.is_tiled:
            offsets, sizes = tiff_header.TILE_OFFSETS, tiff_header.TILE_BYTES
        self._offsets = self._array(page.tags.get(offsets), order, count)
        if not len(self._offsets):
            raise InvalidInputError("the TIFF does not say where its pixels are.")
        if sizes in page.tags or page.compression != tiff_codecs.UNCOMPRESSED:
            self._sizes = self._array(page.tags.get(sizes), order, count)
        else:
            self._sizes = np.full(count, self.decoded_bytes, np.int64)
        self._split()
        self._offsets = self._offsets + page.value(tiff_header.PLANE, 0) * (self._offsets > 0)

    @property
    def decoded_bytes(self) -> int:
        """Bytes of one full strip or tile, as pixels are stored."""
        return self.rows * ((self.columns * self.samples * self.page.bits + 7) // 8)

    def _array(self, stored: Any, order: str, count: int) -> NDArray[np.int64]:
        if not isinstance(stored, Stored):
            return np.zeros(0, np.int64)
        dtype = np.dtype(order + _NUMPY_TYPES.get(stored.kind, "u8"))
        count = min(count, stored.length)
        size = count * dtype.itemsize
        data = stored.inline[:size]
        if stored.length * dtype.itemsize > len(stored.inline):
            if stored.offset >= 1 << 63:
                raise InvalidInputError("a TIFF that ends early.")
            self._file.seek(stored.offset)
            data = self._file.read(size)
        if len(data) < size:
            raise InvalidInputError("a TIFF that ends early.")
        return np.frombuffer(data, dtype).astype(np.int64)

    def _split(self) -> None:
        page, row = self.page, self.decoded_bytes // max(self.rows, 1)
        rows = max(_PART // max(row, 1), 1)
        single = self._down == 1 and not page.is_tiled and page.compression == tiff_codecs.UNCOMPRESSED
        complete = len(self._offsets) == len(self._sizes) == self.planes
        if not single or not complete:
            return
        if rows >= self.rows:  # some writers state a wrong size for their only strip
            self._sizes = self.decoded_bytes * (self._sizes > 0)
            return
        self._down = -(-page.height // rows)
        firsts = np.arange(self._down, dtype=np.int64) * rows
        present = np.repeat((self._offsets > 0) & (self._sizes > 0), self._down)
        self._offsets = (self._offsets[:, None] + firsts * row).ravel() * present
        self._sizes = np.tile(np.minimum(rows, page.height - firsts) * row, self.planes) * present
        self.rows = rows

    @property
    def template(self) -> TiffPage:
        """The page with the strips as they are divided here."""
        if self.page.is_tiled:
            return self.page
        return TiffPage({**self.page.tags, tiff_header.ROWS_PER_STRIP: (self.rows,)})

    def touched(self, window: Window, planes: Sequence[int]) -> Iterator[int]:
        """Numbers of the strips or tiles that a window touches: across, then down, then by plane."""
        rows = range(window.top // self.rows, (window.top + window.height - 1) // self.rows + 1)
        columns = range(window.left // self.columns, (window.left + window.width - 1) // self.columns + 1)
        for plane in planes:
            for row in rows:
                yield from ((plane * self._down + row) * self._across + column for column in columns)

    def place(self, index: int) -> tuple[int, int, int]:
        """First sample, row and column of a strip or tile."""
        plane, rest = divmod(index, self._across * self._down)
        row, column = divmod(rest, self._across)
        return plane * self.samples, row * self.rows, column * self.columns

    def shape(self, index: int) -> tuple[int, int, int]:
        """Rows, columns and samples of a strip or tile; the last strip may be shorter."""
        _, top, _ = self.place(index)
        return (self.rows if self.page.is_tiled else min(self.rows, self.page.height - top)), self.columns, self.samples

    def check(self, index: int) -> bool:
        """Whether anything is stored there. Raises InvalidInputError if the entry is impossible."""
        if index >= min(len(self._offsets), len(self._sizes)):
            raise InvalidInputError(f"the TIFF has no strip or tile {index}.")
        offset, size = int(self._offsets[index]), int(self._sizes[index])
        if not size or not offset:
            return False
        if not 0 < size <= 2 * self.decoded_bytes + _MIN_COMPRESSED:
            raise InvalidInputError(
                f"strip or tile {index} takes {size} bytes for {self.decoded_bytes} bytes of pixels."
            )
        if offset < 0 or offset + size > self._file_size:
            raise InvalidInputError(f"strip or tile {index} is cut short: the file ends early.")
        return True

    def check_window(self, window: Window, samples: Sequence[int]) -> tuple[list[int], set[int]]:
        """The strips or tiles that samples of a window touch, and those of them that are stored.

        Raises:
            InvalidInputError: there are too many, or they are not within the file.
        """
        planes = [0] if self.samples > 1 else list(dict.fromkeys(samples))
        touched = list(islice(self.touched(window, planes), _MAX_AT_ONCE + 1))
        if len(touched) > _MAX_AT_ONCE:
            raise InvalidInputError(
                f"more than {_MAX_AT_ONCE} strips or tiles would have to be decoded at once.", hint="Read it by --tile."
            )
        return touched, {index for index in touched if self.check(index)}

    def data(self, index: int) -> bytes:
        """The bytes of a stored strip or tile."""
        offset, size = int(self._offsets[index]), int(self._sizes[index])
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise InvalidInputError(f"strip or tile {index} is cut short: the file ends early.")
        return data

    def everything(self) -> list[bytes]:
        """The bytes of all strips or tiles, in order; empty for one that is not stored."""
        count = self._across * self._down * self.planes
        return [self.data(index) if self.check(index) else b"" for index in range(count)]


class PageReader:
    """Reads pixels of one page by window."""

    def __init__(self, tifffile: Any, segments: Segments, order: str) -> None:
        self.segments = segments
        self.page = segments.template
        if not self.page.has_one_type:
            raise _of_other_type(self.page)
        self._tiff = tifffile.TiffFile(tiff_directory.one_page(self.page, order))
        self._decoder = self._tiff.pages[0]
        self.dtype = _checked_type(self._decoder, self.page)
        tables = self.page.tags.get(tiff_header.JPEG_TABLES, ())
        self._tables = tables[0] if tables and isinstance(tables[0], bytes) else bytes(tables)
        self._sized = tiff_codecs.sized_decoder(self.page)
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._kept_bytes = 0

    def read(self, window: Window, samples: Sequence[int], fill: Any, options: ReadOptions) -> NDArray[Any]:
        """Samples of a window (samples, height, width) in native byte order; `fill` where nothing is stored."""
        segments = self.segments
        touched, stored = segments.check_window(window, samples)
        row_bytes = window.width * len(samples) * self.dtype.itemsize
        segment_bytes = segments.rows * segments.columns * segments.samples * self.dtype.itemsize
        options.check_bytes(window.height * row_bytes + segment_bytes)
        pixels = np.full((len(samples), window.height, window.width), fill, self.dtype)
        for index in touched:
            if index not in stored:
                continue
            first, y, x = segments.place(index)
            values = self._segment(index)
            first_y, last_y = max(y, window.top), min(y + values.shape[0], window.top + window.height)
            first_x, last_x = max(x, window.left), min(x + values.shape[1], window.left + window.width)
            if first_y >= last_y or first_x >= last_x:
                continue
            part = values[first_y - y : last_y - y, first_x - x : last_x - x]
            rows = slice(first_y - window.top, last_y - window.top)
            columns = slice(first_x - window.left, last_x - window.left)
            for position, sample in enumerate(samples):
                if first <= sample < first + values.shape[2]:
                    pixels[position, rows, columns] = part[..., sample - first]
        return pixels

    def _segment(self, index: int) -> NDArray[Any]:
        """The (rows, columns, samples) of a strip or tile."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        values = self._decode(index)
        if self.page.compression != tiff_codecs.UNCOMPRESSED and values.nbytes <= _KEPT_ALONE:
            self._kept[index] = values
            self._kept_bytes += values.nbytes
            while self._kept_bytes > _KEPT and len(self._kept) > 1:
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        return values

    def _decode(self, index: int) -> NDArray[Any]:
        data, shape = self.segments.data(index), self.segments.shape(index)
        if self._sized is not None:
            return self._sized(data, shape, self.dtype)
        more = {}
        if self.page.compression == tiff_header.JPEG:
            tiff_codecs.check_jpeg(data, (shape[1], self.segments.rows), shape[2])
            more = {"jpegtables": self._tables or None}
        values: NDArray[Any] = self._decoder.decode(data, index, **more)[0][0]
        return values

    def close(self) -> None:
        self._tiff.close()
        self._kept.clear()


def _checked_type(decoder: Any, page: TiffPage) -> np.dtype[Any]:
    """The dtype of the samples, if the decoder understands the page as it was checked."""
    dtype = decoder.dtype
    if dtype is None or dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise _of_other_type(page)
    columns, rows = page.segment_size
    compression, predictor = int(decoder.compression), int(decoder.predictor)
    seen: list[Any] = [decoder.imagewidth, decoder.imagelength, decoder.samplesperpixel, decoder.bitspersample]
    seen += [compression, *decoder.chunks[:2], predictor]
    checked = [page.width, page.height, page.samples, page.bits, page.compression, rows, columns]
    checked.append(page.value(tiff_header.PREDICTOR, 1))
    if seen != checked or dtype.itemsize * 8 < page.bits:
        raise InvalidInputError("a TIFF that its decoder reads differently from what the header says.")
    native: np.dtype[Any] = dtype.newbyteorder("=")
    return native


def _of_other_type(page: TiffPage) -> InvalidInputError:
    return InvalidInputError(
        f"samples of {page.bits} bits in format {page.sample_format}, where one type of integers or floating point "
        "numbers was expected for all bands."
    )
