"""Read what a WebP file holds besides its pixels (RFC 9649)."""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

from zoo.core.errors import InvalidInputError

_PIXELS = (b"VP8 ", b"VP8L", b"ALPH")
_MOST_CHUNKS = 1 << 14
_MOST_METADATA = 1 << 20  # bytes


class WebpHeader(NamedTuple):
    width: int
    height: int
    frames: int
    exif: bytes
    xmp: bytes
    coded_bytes: int


def read_header(file: BinaryIO) -> WebpHeader:
    """Read the heads of the chunks, and the content of those that state the orientation.

    Raises:
        InvalidInputError: no size is stated, or there are thousands of chunks.
    """
    sizes: list[tuple[int, int]] = []
    frames, exif, xmp = 0, b"", b""
    coded: dict[bytes, int] = {}
    position, end = 12, file.seek(0, 2)
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            break
        kind, length = struct.unpack("<4sI", head)
        if kind in _PIXELS:
            coded.setdefault(kind, min(length, end - position))
        if kind in (b"VP8X", b"VP8 ", b"VP8L"):
            sizes.append(_size(kind, file.read(10)))
        elif kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF" and length <= _MOST_METADATA:
            exif = exif or file.read(length)
        elif kind == b"XMP " and length <= _MOST_METADATA:
            xmp = xmp or file.read(length)
        position += 8 + length + length % 2
    else:
        raise InvalidInputError(f"a WebP file of more than {_MOST_CHUNKS} chunks.")
    if not sizes:
        raise InvalidInputError("a WebP file that is cut off or damaged before its pixels.")
    return WebpHeader(
        max(w for w, _ in sizes), max(h for _, h in sizes), max(1, frames), exif, xmp, sum(coded.values())
    )


def _size(kind: bytes, data: bytes) -> tuple[int, int]:
    if len(data) < 10:
        return 0, 0
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 6)
    return width & 0x3FFF, height & 0x3FFF
