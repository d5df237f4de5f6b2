"""What Pillow does not tell of a PNG (ISO/IEC 15948): its bit depth, and whether anything follows the pixels."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO, NamedTuple

from zoo.core.errors import InvalidInputError

GREY_ALPHA = 4
RGBA = 6

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">I4sIIBBBBB")  # length, "IHDR", width, height, bit depth, colour type, and three methods
_TEXT = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
_MAX_CHUNKS = 1 << 20


class PngHeader(NamedTuple):
    bits: int
    colour_type: int
    text_after_pixels: bool


def read_header(file: BinaryIO) -> PngHeader:
    """Depth and colour type, and whether text or EXIF stands behind the pixels. Reads the chunks' heads only.

    Raises:
        InvalidInputError: it is no PNG.
    """
    file.seek(0)
    start = file.read(len(_SIGNATURE) + _HEADER.size)
    if not start.startswith(_SIGNATURE) or len(start) < len(_SIGNATURE) + _HEADER.size:
        raise InvalidInputError("not a PNG.")
    _, kind, _, _, bits, colour_type, *_ = _HEADER.unpack_from(start, len(_SIGNATURE))
    if kind != b"IHDR":
        raise InvalidInputError("a PNG that does not begin with its header.")
    return PngHeader(bits, colour_type, _has_text_after_pixels(file))


def _has_text_after_pixels(file: BinaryIO) -> bool:
    position, pixels_seen = len(_SIGNATURE), False
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return False
        length, kind = struct.unpack(">I4s", head)
        if pixels_seen and kind in _TEXT:
            return True
        pixels_seen = pixels_seen or kind == b"IDAT"
        position += length + 12
    raise InvalidInputError(f"a PNG of more than {_MAX_CHUNKS} chunks.")


def relabelled(data: bytes, *, bits: int, colour_type: int) -> bytes:
    """The same PNG, said to be of another depth and colour type; of use where the bytes of a pixel are as many."""
    start, end = len(_SIGNATURE), len(_SIGNATURE) + _HEADER.size
    length, kind, width, height, _, _, *methods = _HEADER.unpack_from(data, start)
    header = _HEADER.pack(length, kind, width, height, bits, colour_type, *methods)
    return data[:start] + header + struct.pack(">I", zlib.crc32(header[4:])) + data[end + 4 :]
