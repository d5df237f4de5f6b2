"""Read sizes and depths from the boxes of AVIF, HEIF (ISO/IEC 14496-12, 23008-12) and JPEG 2000 (15444-1, annex I)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from zoo.core.errors import InvalidInputError

_MOST_BOXES = 1 << 12
_AVIF = (b"avif", b"avis")
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class Box(NamedTuple):
    """A box's type, and the start and end of its content in the file."""

    kind: bytes
    start: int
    end: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes in a range of the file, in order.

    Raises:
        InvalidInputError: a box is shorter than its own header, or there are thousands of boxes.
    """
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack_from(">I4s", head)
        content = start + 8
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
            content += 8
        stop = end if size == 0 else min(end, start + size)
        if stop < content:
            raise InvalidInputError("a box that is shorter than its own header.")
        yield Box(kind, content, stop)
        start = stop
    raise InvalidInputError(f"more than {_MOST_BOXES} boxes.")


def kind_of_heif(start: bytes) -> str:
    """'AVIF' or 'HEIC' by the brands of the first box; empty for any other file."""
    if start[4:8] != b"ftyp":
        return ""
    size = min(len(start), max(16, int.from_bytes(start[:4], "big")))
    brands = [start[8:12], *(start[i : i + 4] for i in range(16, size - 3, 4))]
    if brands[0] in _AVIF or (brands[0] in (b"mif1", b"msf1") and any(brand in _AVIF for brand in brands)):
        return "AVIF"
    return "HEIC" if brands[0] in _HEIF else ""


class HeifHeader(NamedTuple):
    """The largest size, before rotation, and the largest depth of all images in the file."""

    width: int
    height: int
    bits: int


def read_heif_header(file: BinaryIO) -> HeifHeader:
    """Read the properties of the images.

    Raises:
        InvalidInputError: the file states no size, or is damaged.
    """
    file.seek(0, 2)
    end = file.tell()
    width = height = bits = 0
    for meta in (box for box in boxes(file, 0, end) if box.kind == b"meta"):
        for iprp in (box for box in boxes(file, meta.start + 4, meta.end) if box.kind == b"iprp"):
            for ipco in (box for box in boxes(file, iprp.start, iprp.end) if box.kind == b"ipco"):
                for box in boxes(file, ipco.start, ipco.end):
                    file.seek(box.start)
                    data = file.read(min(64, box.end - box.start))
                    if box.kind == b"ispe" and len(data) >= 12:
                        wide, high = struct.unpack_from(">II", data, 4)
                        if wide * high >= width * height:
                            width, height = wide, high
                    bits = max(bits, _bits_of(box.kind, data))
    if not width:
        raise InvalidInputError("the file does not state the size of the picture.")
    return HeifHeader(width, height, bits or 8)


def _bits_of(kind: bytes, data: bytes) -> int:
    if kind == b"pixi" and len(data) > 5:
        return max(data[5 : 5 + data[4]], default=0)
    if kind == b"av1C" and len(data) > 2:
        return 8 if not data[2] & 0x40 else 12 if data[2] & 0x20 else 10
    if kind == b"hvcC" and len(data) > 18:
        return 8 + max(data[17] & 7, data[18] & 7)
    return 0


class Jpeg2000Header(NamedTuple):
    """Size, components and bits of the codestream, and its number of tiles."""

    width: int
    height: int
    components: int
    bits: int
    signed: bool
    tiles: int


_SIZ = struct.Struct(">4sHHIIIIIIIIH")


def read_jpeg2000_header(file: BinaryIO) -> Jpeg2000Header:
    """Read the size from the codestream, bare or in its box.

    Raises:
        InvalidInputError: there is no codestream, or the box states a different size.
    """
    file.seek(0, 2)
    end = file.tell()
    file.seek(0)
    if file.read(2) == b"\xff\x4f":
        return _codestream(file, 0)
    stated: tuple[int, int] | None = None
    for box in boxes(file, 0, end):
        if box.kind == b"jp2h":
            for inner in boxes(file, box.start, box.end):
                if inner.kind == b"ihdr":
                    file.seek(inner.start)
                    data = file.read(8)
                    if len(data) == 8:
                        height, width = struct.unpack(">II", data)
                        stated = width, height
        elif box.kind == b"jp2c":
            header = _codestream(file, box.start)
            if stated != (header.width, header.height):
                raise InvalidInputError("a JPEG 2000 file whose header and codestream differ in size.")
            return header
    raise InvalidInputError("a JPEG 2000 file without a codestream.")


def _codestream(file: BinaryIO, start: int) -> Jpeg2000Header:
    file.seek(start)
    data = file.read(_SIZ.size)
    if len(data) < _SIZ.size or data[:4] != b"\xff\x4f\xff\x51":
        raise InvalidInputError("a JPEG 2000 codestream that does not begin with its size.")
    _, _, _, right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = _SIZ.unpack(data)
    depths = file.read(3 * min(components, 16384))
    if right <= left or bottom <= top or not (tile_width and tile_height) or len(depths) < 3 * components:
        raise InvalidInputError("a JPEG 2000 codestream with an impossible size.")
    across = -(-(right - tile_left) // tile_width)
    down = -(-(bottom - tile_top) // tile_height)
    bits = [(depth & 0x7F) + 1 for depth in depths[::3]]
    return Jpeg2000Header(
        right - left, bottom - top, components, max(bits, default=0), any(d & 0x80 for d in depths[::3]), across * down
    )
