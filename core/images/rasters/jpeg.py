"""Read the segments of a JPEG before its pixels (ITU-T T.81, annex B), also of JPEG-LS and of a JPEG inside DICOM."""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

from zoo.core.errors import InvalidInputError

_START, _END = b"\xff\xd8", b"\xff\xd9"
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)  # 0xF7: JPEG-LS
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_SCAN = 0xDA
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a segment
_APPLICATION = range(0xE0, 0xF0)
_COMMENT = 0xFE
_COUNTS_FOR_COLOUR = (0xE0, 0xEE)  # JFIF and Adobe define the colour of the components
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_MOST_SEGMENTS = 1 << 14
_MOST_JUNK = 1 << 16
_MOST_SCANS = 24
"""The most scans of a picture at the limit of pixels; encoders write about ten."""
_PIXELS_TIMES_SCANS = 1 << 31
_BLOCK = 1 << 20


class JpegHeader(NamedTuple):
    """Facts about the only frame.

    `samples` is the number of samples per pixel after subsampling: 1.5 for 4:2:0. `in_scans` says whether the picture
    comes in several scans, progressive or not: a decoder then holds all of it before it returns any pixel. `parts` are
    the ranges of the file that a decoder needs, as (offset, length); the last one reaches to the end of the file.
    """

    width: int
    height: int
    components: int
    bits: int
    samples: float
    in_scans: bool
    exif: bytes
    xmp: bytes
    parts: list[tuple[int, int]]


def read_header(file: BinaryIO) -> JpegHeader:
    """Read the segments up to the first scan.

    Raises:
        InvalidInputError: there is no frame, or more than one, or something other than segments.
    """
    file.seek(0)
    if file.read(2) != _START:
        raise InvalidInputError("not a JPEG.")
    frame: tuple[int, bytes] | None = None
    exif = xmp = b""
    parts = [(0, 2)]
    position, junk = 2, 0
    for _ in range(_MOST_SEGMENTS):
        position, marker, skipped = _next_marker(file, position)
        junk += skipped
        if marker == _SCAN:
            in_first_scan = file.read(3)[2:]  # the number of components, after the length
            break
        if marker in _ALONE or marker == 0xD8:
            continue
        size = file.read(2)
        if len(size) < 2 or junk > _MOST_JUNK:
            raise InvalidInputError("a JPEG that is cut off or damaged before its pixels.")
        length = max(2, int.from_bytes(size, "big"))
        if marker in _FRAMES:
            if frame is not None:
                raise InvalidInputError("a JPEG with more than one frame.")
            frame = marker, file.read(length - 2)
        elif marker == 0xE1 and not (exif and xmp):
            data = file.read(length - 2)
            exif = exif or (data if data.startswith(_EXIF) else b"")
            xmp = xmp or (data if data.startswith(_XMP) else b"")
        if not (marker in _APPLICATION or marker == _COMMENT) or marker in _COUNTS_FOR_COLOUR:
            parts.append((position - 2, length + 2))
        position += length
    else:
        raise InvalidInputError(f"a JPEG of more than {_MOST_SEGMENTS} segments before its pixels.")
    if frame is None:
        raise InvalidInputError("a JPEG whose pixels begin before its size is stated.")
    file.seek(0, 2)
    parts.append((position - 2, max(0, file.tell() - position + 2)))
    return _header(*frame, in_first_scan, exif=exif, xmp=xmp, parts=parts)


def _next_marker(file: BinaryIO, position: int) -> tuple[int, int, int]:
    """Return (position after the marker, marker, number of meaningless bytes before it)."""
    skipped = 0
    file.seek(position)
    while skipped <= _MOST_JUNK:
        byte = file.read(1)
        if byte == b"\xff":
            while byte == b"\xff" and skipped <= _MOST_JUNK:
                byte = file.read(1)
                position += 1
                skipped += 1
            if byte and byte != b"\0":
                return position + 1, byte[0], skipped - 1
        if not byte:
            break
        skipped += 1
        position += 1
    raise InvalidInputError("a JPEG that is cut off or damaged before its pixels.")


def _header(marker: int, frame: bytes, in_first_scan: bytes, **rest: object) -> JpegHeader:
    try:
        bits, height, width, components = struct.unpack_from(">BHHB", frame)
        factors = [divmod(frame[6 + 3 * i + 1], 16) for i in range(components)]
    except (struct.error, IndexError):
        raise InvalidInputError("a JPEG whose frame is cut off.") from None
    area = max((h for h, _ in factors), default=0) * max((v for _, v in factors), default=0)
    samples = sum(h * v for h, v in factors) / area if area else float(components)
    in_scans = marker in _PROGRESSIVE or in_first_scan != bytes([components])
    return JpegHeader(width, height, components, bits, samples, in_scans, **rest)  # type: ignore[arg-type]


def coded_bytes(file: BinaryIO, header: JpegHeader) -> int:
    """The number of bytes from the first scan to the end of the picture, which any other data may follow."""
    file.seek(header.parts[-1][0])
    count, last = 0, b""
    while block := file.read(_BLOCK):
        end = (last + block).find(_END)
        if end >= 0:
            return count - len(last) + end + len(_END)
        count, last = count + len(block), block[-1:]
    return count


def check_scans(file: BinaryIO, header: JpegHeader) -> None:
    """Refuse a picture with more scans than any encoder writes.

    Raises:
        InvalidInputError: it has too many scans.
    """
    if not header.in_scans:
        return
    most = max(_MOST_SCANS, _PIXELS_TIMES_SCANS // max(1, header.width * header.height))
    file.seek(header.parts[-1][0])
    scans, last = 0, b""
    while block := file.read(_BLOCK):
        scans += (last + block).count(b"\xff\xda")
        last = block[-1:] if block.endswith(b"\xff") else b""
        if scans > most:
            raise InvalidInputError(f"a JPEG of more than {most} scans.")
