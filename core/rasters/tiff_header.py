"""The directories of a TIFF (TIFF 6.0, and BigTIFF) read with suspicion: enough to choose a reader and refuse bombs."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, NamedTuple

from zoo.core.errors import InvalidInputError
from zoo.core.rasters.georeference import GEO_TAGS
from zoo.core.rasters.options import ReadOptions

MAX_PAGES = 4096
_MAX_TAGS = 4096
_MAX_VALUES = 1 << 16

NEW_SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, ROWS_PER_STRIP, PLANAR, TILE_WIDTH, TILE_HEIGHT = 274, 277, 278, 284, 322, 323
EXTRA_SAMPLES, SAMPLE_FORMAT, NODATA = 338, 339, 42113
_WANTED = {
    NEW_SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, ROWS_PER_STRIP, PLANAR,
    TILE_WIDTH, TILE_HEIGHT, EXTRA_SAMPLES, SAMPLE_FORMAT, NODATA, *GEO_TAGS,
}  # fmt: skip

# Field type -> struct letter; a rational is left out, none of the tags above is one.
_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q", 17: "q", 18: "Q"}
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
UNSIGNED = 1  # of the values of SampleFormat
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
_VISIBLE_SAMPLES = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}


class TiffHeader(NamedTuple):
    """Tags of the first page, and how many pages of full resolution there are."""

    tags: dict[int, tuple[Any, ...]]
    num_pages: int

    def value(self, tag: int, default: int) -> int:
        """The only or first value of a tag of integers."""
        values = self.tags.get(tag, ())
        return values[0] if values and isinstance(values[0], int) else default

    @property
    def width(self) -> int:
        return self.value(WIDTH, 0)

    @property
    def height(self) -> int:
        return self.value(HEIGHT, 0)

    @property
    def samples(self) -> int:
        return self.value(SAMPLES, 1)

    @property
    def bits(self) -> int:
        """Of the deepest sample."""
        return max((b for b in self.tags.get(BITS, ()) if isinstance(b, int)), default=1)

    @property
    def sample_format(self) -> int:
        return self.value(SAMPLE_FORMAT, UNSIGNED)

    @property
    def photometric(self) -> int:
        return self.value(PHOTOMETRIC, BLACK_IS_ZERO)

    @property
    def alpha(self) -> int | None:
        """Position of the sample that is alpha, if the file declares one."""
        extra = self.tags.get(EXTRA_SAMPLES, ())
        first = self.samples - len(extra)
        return next((first + i for i, kind in enumerate(extra) if kind in (1, 2)), None)

    @property
    def nodata(self) -> float | None:
        """GDAL's tag: a number as text."""
        text = b"".join(v for v in self.tags.get(NODATA, ()) if isinstance(v, bytes))
        try:
            return float(text.rstrip(b"\0 ").decode("ascii"))
        except ValueError:
            return None

    @property
    def is_upright(self) -> bool:
        """Whether the first row is the top one and the first column the left one."""
        return self.value(ORIENTATION, 1) in (0, 1)

    @property
    def is_georeferenced(self) -> bool:
        return any(tag in self.tags for tag in (*GEO_TAGS, NODATA))

    @property
    def has_plain_numbers(self) -> bool:
        """Whether samples are grey, red, green and blue, or bands; not inks, indexes of a palette, or other colours."""
        return self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB) or (
            self.photometric == CMYK and self.samples > 4
        )

    @property
    def is_picture(self) -> bool:
        """Grey or colour of at most 16 bits as people see it, where alpha may be beside it."""
        return self._shows({WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3}) and self.bits <= 16

    @property
    def suits_pillow(self) -> bool:
        """Whether Pillow reads it without loss."""
        deep_grey = self.is_picture and self.samples == 1
        return deep_grey or (self._shows(_VISIBLE_SAMPLES) and self.bits <= 8)

    def _shows(self, visible: dict[int, int]) -> bool:
        extra = 0 if self.alpha is None else 1
        single = self.num_pages == 1 and self.sample_format == UNSIGNED
        return single and self.samples - extra == visible.get(self.photometric)

    def check(self, options: ReadOptions) -> None:
        """Refuse what would take much memory before a single pixel is there.

        Raises:
            InvalidInputError: no pixels, or strips or tiles beyond the limit.
        """
        if min(self.width, self.height, self.samples) < 1:
            raise InvalidInputError(f"{self.width}x{self.height} pixels of {self.samples} bands: there is no image.")
        contiguous = self.samples if self.value(PLANAR, 1) == 1 else 1
        if TILE_WIDTH in self.tags or TILE_HEIGHT in self.tags:
            options.check_size(self.value(TILE_WIDTH, 0), self.value(TILE_HEIGHT, 0), contiguous)
        else:
            rows = min(self.value(ROWS_PER_STRIP, self.height), self.height)
            options.check_size(self.width, rows, contiguous)


def read_header(file: BinaryIO) -> TiffHeader:
    """Tags of the first page and the number of pages, without overviews and masks.

    Raises:
        InvalidInputError: it is no TIFF, damaged, or has more than MAX_PAGES pages.
    """
    file.seek(0)
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or len(start) < 8:
        raise InvalidInputError("not a TIFF.")
    big = struct.unpack(order + "H", start[2:4])[0] == 43
    if big and len(start) < 16:
        raise InvalidInputError("a TIFF that ends within its header.")
    offset = struct.unpack(order + "Q", start[8:16])[0] if big else struct.unpack(order + "I", start[4:8])[0]
    pages: list[dict[int, tuple[Any, ...]]] = []
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= MAX_PAGES:
            raise InvalidInputError(f"more than {MAX_PAGES} pages, or pages in a circle.")
        seen.add(offset)
        wanted = {NEW_SUBFILE_TYPE} if pages else _WANTED
        tags, offset = _read_directory(file, offset, order, big, wanted)
        kind = tags.get(NEW_SUBFILE_TYPE, (0,))[0]
        if not pages or not kind & (_REDUCED | _MASK):
            pages.append(tags if not pages else {})
    if not pages:
        raise InvalidInputError("a TIFF without a page.")
    return TiffHeader(pages[0], len(pages))


def _read_directory(
    file: BinaryIO, offset: int, order: str, big: bool, wanted: set[int]
) -> tuple[dict[int, tuple[Any, ...]], int]:
    count_format, entry, next_format = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    count = _unpack(file, offset, order + count_format)[0]
    if count > _MAX_TAGS:
        raise InvalidInputError(f"a TIFF directory of {count} tags.")
    entry = order + entry
    size = struct.calcsize(entry)
    first = offset + struct.calcsize(order + count_format)
    file.seek(first)
    data = file.read(count * size)
    if len(data) < count * size:
        raise InvalidInputError("a TIFF that ends within a directory.")
    tags: dict[int, tuple[Any, ...]] = {}
    for tag, kind, length, inline in struct.iter_unpack(entry, data):
        if tag in wanted and kind in _TYPES and 0 < length <= _MAX_VALUES:
            tags[tag] = _values(file, order, kind, length, inline, big)
    following: int = _unpack(file, first + count * size, order + next_format)[0]
    return tags, following


def _values(file: BinaryIO, order: str, kind: int, length: int, inline: bytes, big: bool) -> tuple[Any, ...]:
    layout = f"{order}{length}{_TYPES[kind]}"
    size = struct.calcsize(layout)
    if size <= len(inline):
        return struct.unpack(layout, inline[:size])
    return _unpack(file, struct.unpack(order + ("Q" if big else "I"), inline)[0], layout)


def _unpack(file: BinaryIO, offset: int, layout: str) -> tuple[Any, ...]:
    file.seek(offset)
    data = file.read(struct.calcsize(layout))
    try:
        return struct.unpack(layout, data)
    except struct.error:
        raise InvalidInputError("a TIFF that ends early.") from None
