"""Read the chunks of a PNG (ISO/IEC 15948) for facts that Pillow does not give, and find those that its pixels need.

Text, profiles and EXIF are kept from Pillow: a compressed note of some megabytes, or its wrong checksum, is no reason
to lose the picture.
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO, NamedTuple

from zoo.core.errors import InvalidInputError

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">I4sIIBBBBB")  # length, "IHDR", width, height, bit depth, colour type, and three methods
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_RAW_EXIF, _XMP = b"Raw profile type exif", b"XML:com.adobe.xmp"
_MAX_CHUNKS = 1 << 18
_MOST_METADATA = 1 << 20  # bytes


class PngHeader(NamedTuple):
    """Facts about a PNG. `parts` are the ranges of the file that the pixels need, as (offset, length)."""

    width: int
    height: int
    bits: int
    colour_type: int
    interlaced: bool
    exif: bytes
    xmp: bytes
    parts: list[tuple[int, int]]


def read_header(file: BinaryIO) -> PngHeader:
    """Read the heads of the chunks, and the content of those that state the orientation.

    Raises:
        InvalidInputError: it is not a PNG, or has two headers.
    """
    file.seek(0)
    start = file.read(len(_SIGNATURE) + _HEADER.size)
    if not start.startswith(_SIGNATURE) or len(start) < len(_SIGNATURE) + _HEADER.size:
        raise InvalidInputError("not a PNG.")
    length, kind, width, height, bits, colour_type, _, _, interlaced = _HEADER.unpack_from(start, len(_SIGNATURE))
    if kind != b"IHDR" or length != 13:
        raise InvalidInputError("a PNG that does not begin with its header.")
    exif, xmp, parts = _walk(file)
    return PngHeader(width, height, bits, colour_type, bool(interlaced), exif, xmp, parts)


def coded_bytes(file: BinaryIO, header: PngHeader) -> int:
    """The number of the file's bytes that the pixels need; a chunk may claim to be longer than the file."""
    end = file.seek(0, 2)
    return sum(max(0, min(offset + length, end) - offset) for offset, length in header.parts)


def _walk(file: BinaryIO) -> tuple[bytes, bytes, list[tuple[int, int]]]:
    """Return (EXIF, XMP, the byte ranges that the pixels need)."""
    exif = raw_exif = xmp = b""
    parts = [(0, len(_SIGNATURE))]
    position = len(_SIGNATURE)
    for number in range(_MAX_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IHDR" and number:
            raise InvalidInputError("a PNG with two headers.")
        if kind in _PIXELS or kind in _ANIMATION:
            parts.append((position, length + 12))
        elif length > _MOST_METADATA:
            pass
        elif kind == b"eXIf":
            exif = exif or file.read(length)
        elif kind in (b"iTXt", b"tEXt", b"zTXt"):
            name, _, text = file.read(length).partition(b"\0")
            if name == _RAW_EXIF:
                raw_exif = raw_exif or _from_hexadecimal(_text(kind, text))
            elif name == _XMP:
                xmp = xmp or _text(kind, text)
        if kind == b"IEND":
            break
        position += length + 12
    else:
        raise InvalidInputError(f"a PNG of more than {_MAX_CHUNKS} chunks.")
    return exif or raw_exif, xmp, parts


def _text(kind: bytes, data: bytes) -> bytes:
    """The text of a text chunk, from the data after its keyword; empty if it is damaged or too long."""
    compressed = kind == b"zTXt"
    if kind == b"zTXt":
        data = data[1:]  # the method
    elif kind == b"iTXt":
        compressed = data[:1] == b"\1"
        data = data[2:].partition(b"\0")[2].partition(b"\0")[2]  # language and translated keyword
    if not compressed:
        return data
    try:
        return zlib.decompressobj().decompress(data, _MOST_METADATA)
    except zlib.error:
        return b""


def _from_hexadecimal(text: bytes) -> bytes:
    """Decode ImageMagick's format: three lines with a name and a number of bytes, then the bytes in hexadecimal."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def relabelled(data: bytes, *, bits: int, colour_type: int) -> bytes:
    """The same PNG, labelled with a different depth and colour type of the same number of bytes per pixel."""
    start, end = len(_SIGNATURE), len(_SIGNATURE) + _HEADER.size
    length, kind, width, height, _, _, *methods = _HEADER.unpack_from(data, start)
    header = _HEADER.pack(length, kind, width, height, bits, colour_type, *methods)
    return data[:start] + header + struct.pack(">I", zlib.crc32(header[4:])) + data[end + 4 :]
