"""Read the directories of an untrusted TIFF (6.0 or BigTIFF): enough to choose a reader and refuse bombs.

Decoders get only what is read here (see `tiff_directory`): no library reads the directories again, except for GDAL,
whose numbers are compared.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters.georeference import GEO_TAGS
from zoo.core.images.rasters.options import ReadOptions

MAX_PAGES = 4096
MAX_SAMPLES = (1 << 16) - 1
_MAX_BITS = 64
_MAX_TAGS = 4096
_MAX_DIRECTORIES = 1 << 25  # bytes of directories and their values, all together
_MAX_TEXT = 1 << 22
_MAX_VALUES = 1 << 16

NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
FILL_ORDER, DESCRIPTION, STRIP_OFFSETS, ORIENTATION, SAMPLES = 266, 270, 273, 274, 277
ROWS_PER_STRIP, STRIP_BYTES, PLANAR, T4_OPTIONS, T6_OPTIONS, PREDICTOR = 278, 279, 284, 292, 293, 317
COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SUB_IFDS, INK_SET = 320, 322, 323, 324, 325, 330, 332
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES = 338, 339, 347
YCBCR_COEFFICIENTS, YCBCR_SUBSAMPLING, YCBCR_POSITIONING, REFERENCE_BLACK_WHITE = 529, 530, 531, 532
IMAGE_DEPTH, GDAL_METADATA, NODATA = 32997, 42112, 42113
PLANE = -1
"""Offset in bytes, from the first page, of a page without its own directory; a tag that no file can have."""

_NUMBERS = {
    NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION, SAMPLES,
    ROWS_PER_STRIP, PLANAR, T4_OPTIONS, T6_OPTIONS, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, INK_SET, YCBCR_POSITIONING,
    IMAGE_DEPTH,
}  # fmt: skip
"""Tags with one number."""

_LISTS = {
    BITS: MAX_SAMPLES, SAMPLE_FORMAT: MAX_SAMPLES, EXTRA_SAMPLES: MAX_SAMPLES, COLOUR_MAP: 3 << 16, SUB_IFDS: MAX_PAGES,
    YCBCR_SUBSAMPLING: 2, YCBCR_COEFFICIENTS: 3, REFERENCE_BLACK_WHITE: 6, JPEG_TABLES: _MAX_VALUES,
    **dict.fromkeys(GEO_TAGS, _MAX_VALUES),
}  # fmt: skip
"""Tags with several values, and how many can have a meaning."""

_TEXTS = (DESCRIPTION, GDAL_METADATA, NODATA)
_ARRAYS = (STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES)
_OF_FIRST_PAGE = {DESCRIPTION, GDAL_METADATA, NODATA, SUB_IFDS, *GEO_TAGS}

_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "2I", 6: "b", 7: "s", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q",
          17: "q", 18: "Q"}  # fmt: skip
"""Field type -> struct letters. A rational is two numbers."""

RATIONAL = 5
_INTEGERS = (1, 3, 4, 6, 8, 9, 13, 16, 17, 18)
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_OLD_REDUCED = 2  # a value of SubfileType
UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4  # values of SampleFormat
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
_VISIBLE_SAMPLES = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
JPEG, OLD_JPEG = 7, 6
_MOST_OF_AN_OVERVIEW = 0.55  # of the sides


class Stored(NamedTuple):
    """An array of numbers that is read when needed: its type, length and location."""

    kind: int
    length: int
    inline: bytes
    offset: int


class TiffPage(NamedTuple):
    """Tags of one directory; the values of a tag are a tuple, arrays of offsets and sizes are `Stored`."""

    tags: dict[int, Any]

    def value(self, tag: int, default: int) -> int:
        """The only or first value of an integer tag."""
        values = self.tags.get(tag, ())
        return values[0] if values and isinstance(values[0], int) else default

    def text(self, tag: int) -> str:
        """A tag's text; empty if there is none."""
        data = b"".join(v for v in self.tags.get(tag, ()) if isinstance(v, bytes))
        return data.partition(b"\0")[0].decode("utf-8", "replace").strip()

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
        """Bits of the deepest sample."""
        return max((b for b in self.tags.get(BITS, ()) if isinstance(b, int)), default=1)

    @property
    def sample_format(self) -> int:
        return self.value(SAMPLE_FORMAT, UNSIGNED)

    @property
    def has_one_type(self) -> bool:
        """Whether all samples have the same size and format."""
        return all(len(set(self.tags.get(tag, ()))) < 2 for tag in (BITS, SAMPLE_FORMAT))

    @property
    def photometric(self) -> int:
        return self.value(PHOTOMETRIC, BLACK_IS_ZERO)

    @property
    def compression(self) -> int:
        return self.value(COMPRESSION, 1)

    @property
    def is_tiled(self) -> bool:
        return TILE_WIDTH in self.tags or TILE_HEIGHT in self.tags

    @property
    def segment_size(self) -> tuple[int, int]:
        """Width and height of a tile, or of a strip."""
        if self.is_tiled:
            return self.value(TILE_WIDTH, 0), self.value(TILE_HEIGHT, 0)
        return self.width, min(self.value(ROWS_PER_STRIP, self.height) or self.height, self.height)

    @property
    def segment_samples(self) -> int:
        """Interleaved samples in a strip or tile: all of them, or one if samples are in planes."""
        return self.samples if self.value(PLANAR, 1) == 1 else 1

    @property
    def is_reduced(self) -> bool:
        return bool(self.value(NEW_SUBFILE_TYPE, 0) & _REDUCED) or self.value(SUBFILE_TYPE, 1) == _OLD_REDUCED

    @property
    def is_mask(self) -> bool:
        return bool(self.value(NEW_SUBFILE_TYPE, 0) & _MASK)

    def is_overview_of(self, full: TiffPage) -> bool:
        """Whether this is an undeclared smaller copy, as some writers of pyramids make.

        They write tiles. A smaller page of a scan is in strips: it may be a different picture.
        """
        smaller = max(self.width / full.width, self.height / full.height)
        other = self.width * full.height - self.height * full.width
        same_shape = abs(other) <= 2 * max(full.width, full.height)  # a rounding of one or two pixels
        return full.is_tiled and 0 < smaller <= _MOST_OF_AN_OVERVIEW and same_shape and self.samples == full.samples

    def check(self, options: ReadOptions) -> None:
        """Refuse a page that would take much memory before the first pixel is decoded.

        Raises:
            InvalidInputError: no pixels, strips or tiles beyond the limit, or values that no image has.
        """
        if min(self.width, self.height, self.samples) < 1:
            raise InvalidInputError(f"{self.width}x{self.height} pixels of {self.samples} bands: there is no image.")
        if self.samples > MAX_SAMPLES:
            raise InvalidInputError(f"{self.samples} samples a pixel, where TIFF has at most {MAX_SAMPLES}.")
        if not 1 <= self.bits <= _MAX_BITS:
            raise InvalidInputError(
                f"samples of {self.bits} bits, where integers or floating point of 1 to {_MAX_BITS} bits were expected."
            )
        if len(self.tags.get(BITS, ())) > self.samples or len(self.tags.get(EXTRA_SAMPLES, ())) > self.samples:
            raise InvalidInputError(f"more bit depths or extra samples than the {self.samples} samples.")
        if self.value(IMAGE_DEPTH, 1) != 1:
            raise InvalidInputError(f"a volume of {self.value(IMAGE_DEPTH, 1)} slices, where an image was expected.")
        width, height = self.segment_size
        if self.is_tiled or self.compression != 1:
            options.check_size(width, height, self.segment_samples)
        else:
            options.check_size(width, 1, self.segment_samples)


class TiffHeader(NamedTuple):
    """The pages of full resolution, and the mask of the first of them. The properties describe the first page.

    If a page was chosen, `page` is its number, from 1, and `stored_pages` the number of pages in the file.
    """

    order: str
    pages: tuple[TiffPage, ...]
    mask: TiffPage | None = None
    page: int = 0
    stored_pages: int = 1

    @property
    def choice(self) -> dict[str, int]:
        """The page that is read, and the number of pages, for the manifest; empty if there is only one."""
        if self.stored_pages == 1:
            return {}
        return {"page": self.page, "pages": self.stored_pages} if self.page else {"pages": self.stored_pages}

    @property
    def first(self) -> TiffPage:
        return self.pages[0]

    @property
    def tags(self) -> Mapping[int, Any]:
        return self.first.tags

    @property
    def num_pages(self) -> int:
        return len(self.pages)

    def value(self, tag: int, default: int) -> int:
        return self.first.value(tag, default)

    @property
    def width(self) -> int:
        return self.first.width

    @property
    def height(self) -> int:
        return self.first.height

    @property
    def samples(self) -> int:
        return self.first.samples

    @property
    def bits(self) -> int:
        return self.first.bits

    @property
    def sample_format(self) -> int:
        return self.first.sample_format

    @property
    def photometric(self) -> int:
        return self.first.photometric

    @property
    def white(self) -> float:
        """The number that counts as 1.0: the largest of the bit depth, 1.0 for floating point."""
        return 1.0 if self.sample_format == FLOAT else float(2 ** (self.bits - (self.sample_format == SIGNED)) - 1)

    @property
    def alpha(self) -> int | None:
        """Position of the alpha sample, if the file declares one."""
        extra = self.tags.get(EXTRA_SAMPLES, ())
        first = self.samples - len(extra)
        return next((first + i for i, kind in enumerate(extra) if kind in (1, 2)), None)

    def band_samples(self, options: ReadOptions) -> list[int]:
        """The samples that are bands: declared alpha only if the model reads that many, or if bands are chosen."""
        keep_alpha = bool(options.bands) or options.in_chans == self.samples
        return [i for i in range(self.samples) if keep_alpha or i != self.alpha]

    @property
    def nodata(self) -> float | int | None:
        """The value of GDAL's nodata tag, a number stored as text."""
        text = self.first.text(NODATA)
        try:
            return int(text)
        except ValueError:
            pass
        try:
            return float(text)
        except ValueError:
            return None

    @property
    def is_upright(self) -> bool:
        """Whether the first row is at the top and the first column on the left."""
        return self.value(ORIENTATION, 1) in (0, 1)

    @property
    def is_georeferenced(self) -> bool:
        return any(tag in self.tags for tag in (*GEO_TAGS, NODATA))

    @property
    def is_jpeg_colour(self) -> bool:
        """Whether a JPEG decoder turns the colours into red, green and blue."""
        return self.photometric == YCBCR and self.first.compression == JPEG and self.samples == 3

    @property
    def has_plain_numbers(self) -> bool:
        """Whether samples are grey, RGB or bands, not inks, palette indices or other colours."""
        return (
            self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
            or (self.photometric == CMYK and self.samples > 4)
            or self.is_jpeg_colour
        )

    @property
    def is_picture(self) -> bool:
        """Whether this is grey or colour of at most 16 bits for the eye, with or without alpha."""
        return (self._shows({WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3}) and self.bits <= 16) or self.is_jpeg_colour

    @property
    def suits_pillow(self) -> bool:
        """Whether Pillow reads it without loss; measured values packed into few bits are not 8-bit grey."""
        if self.is_georeferenced and self.bits < 8 and self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
            return False
        deep_grey = self.is_picture and self.samples == 1
        return deep_grey or (self._shows(_VISIBLE_SAMPLES) and self.bits <= 8)

    def _shows(self, visible: dict[int, int]) -> bool:
        extra = 0 if self.alpha is None else 1
        single = self.num_pages == 1 and self.sample_format == UNSIGNED
        return single and self.samples - extra == visible.get(self.photometric)

    def check(self, options: ReadOptions) -> None:
        """Refuse a file that would take much memory. Raises InvalidInputError as `TiffPage.check`."""
        for page in (*self.pages, *([self.mask] if self.mask else ())):
            page.check(options)


def read_header(file: BinaryIO) -> TiffHeader:
    """Read the pages of full resolution; overviews and thumbnails are left out.

    Raises:
        InvalidInputError: it is not a TIFF, is damaged, repeats a tag, has more than MAX_PAGES pages or directories of
            more than 32 MiB, or only a thumbnail of an image that is elsewhere in the file.
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
    reader = _DirectoryReader(file, order, big)
    pages: list[TiffPage] = []
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= MAX_PAGES:
            raise InvalidInputError(f"more than {MAX_PAGES} pages, or a loop of pages.")
        seen.add(offset)
        page, offset = reader.read(offset, first=not pages)
        pages.append(page)
    if not pages:
        raise InvalidInputError("a TIFF without a page.")
    return _of_full_size(order, pages)


def _of_full_size(order: str, pages: list[TiffPage]) -> TiffHeader:
    first, images = pages[0], [page for page in pages if not page.is_mask]
    full = [page for page in images if not page.is_reduced]
    if not full and SUB_IFDS in first.tags:
        raise InvalidInputError(
            "a thumbnail; the full image is in another directory, as in a camera's raw file.",
            hint="Convert it to an RGB TIFF first.",
        )
    full = full or images[:1] or pages[:1]
    first = full[0]
    if first.width > 0 and first.height > 0:
        full = [first, *(page for page in full[1:] if not page.is_overview_of(first))]
    if first is not pages[0]:  # the facts about the file are in its first directory
        first = TiffPage({**{k: v for k, v in pages[0].tags.items() if k in _OF_FIRST_PAGE}, **first.tags})
        full[0] = first
    size = (first.width, first.height)
    masks = (page for page in pages if page.is_mask and not page.is_reduced and page not in full)
    return TiffHeader(order, tuple(full), next((page for page in masks if (page.width, page.height) == size), None))


class _DirectoryReader:
    """Reads directories, up to the number of bytes that a file may spend on them."""

    def __init__(self, file: BinaryIO, order: str, big: bool) -> None:
        self._file, self._order, self._big = file, order, big
        self._left = _MAX_DIRECTORIES

    def read(self, offset: int, *, first: bool) -> tuple[TiffPage, int]:
        """The directory at this offset, and the offset of the next one."""
        count_format, entry, next_format = ("Q", "HHQ8s", "Q") if self._big else ("H", "HHI4s", "I")
        count = self._unpack(offset, count_format)[0]
        if count > _MAX_TAGS:
            raise InvalidInputError(f"a TIFF directory of {count} tags.")
        entry = self._order + entry
        start = offset + struct.calcsize(self._order + count_format)
        data = self._bytes(start, count * struct.calcsize(entry), "a TIFF that ends within a directory.")
        tags: dict[int, Any] = {}
        seen: set[int] = set()
        for tag, kind, length, inline in struct.iter_unpack(entry, data):
            if tag in seen:
                raise InvalidInputError(f"the tag {tag} twice in a TIFF directory.")
            seen.add(tag)
            if kind in _TYPES and length and (first or tag not in _OF_FIRST_PAGE or tag == DESCRIPTION):
                values = self._values(tag, kind, length, inline)
                if values is not None:
                    tags[tag] = values
        following: int = self._unpack(start + len(data), next_format)[0]
        return TiffPage(tags), following

    def _values(self, tag: int, kind: int, length: int, inline: bytes) -> Any:
        """The values of a tag that zoo knows; None for others."""
        if tag in _ARRAYS:
            return Stored(kind, length, inline, self._offset(inline)) if kind in _INTEGERS else None
        if tag in _TEXTS:
            if kind not in (1, 2, 7):
                return None
            length = min(length, _MAX_TEXT)
        elif tag in _NUMBERS:
            if length != 1 or kind not in _INTEGERS:
                raise InvalidInputError(
                    f"{length} values of type {kind} in the TIFF tag {tag}, where a number was expected."
                )
        elif tag not in _LISTS:
            return None
        elif length > _LISTS[tag]:
            raise InvalidInputError(
                f"{length} values in the TIFF tag {tag}, where at most {_LISTS[tag]} have a meaning."
            )
        letters = f"{length}{_TYPES[kind]}" if kind != RATIONAL else f"{2 * length}I"
        size = struct.calcsize(self._order + letters)
        if size <= len(inline):
            return struct.unpack(self._order + letters, inline[:size])
        return self._unpack(self._offset(inline), letters)

    def _offset(self, inline: bytes) -> int:
        found: int = struct.unpack(self._order + ("Q" if self._big else "I"), inline)[0]
        return found

    def _unpack(self, offset: int, layout: str) -> tuple[Any, ...]:
        layout = self._order + layout
        return struct.unpack(layout, self._bytes(offset, struct.calcsize(layout), "a TIFF that ends early."))

    def _bytes(self, offset: int, size: int, cut: str) -> bytes:
        self._left -= size
        if self._left < 0:
            raise InvalidInputError(f"more than {_MAX_DIRECTORIES >> 20} MiB of TIFF directories.")
        if offset >= 1 << 63:
            raise InvalidInputError(cut)
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise InvalidInputError(cut)
        return data
