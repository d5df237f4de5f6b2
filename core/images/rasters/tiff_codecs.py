"""Define which packages read which TIFF compressions, and bound the unpacked size of each strip or tile.

General compressions (LZW, Deflate, ...) are bounded by the output space. Pictures within a TIFF (JPEG, WebP, JPEG 2000,
JPEG XL, LERC) have a size of their own, which is compared before they are decoded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters import tiff_header
from zoo.core.images.rasters.tiff_header import TiffHeader, TiffPage

UNCOMPRESSED = 1
NAMES = {
    UNCOMPRESSED: "no", 2: "CCITT RLE", 3: "CCITT fax 3", 4: "CCITT fax 4", 5: "LZW", 6: "old JPEG", 7: "JPEG",
    8: "DEFLATE", 32773: "PackBits", 32946: "DEFLATE", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000",
    34887: "LERC", 34892: "JPEG", 34925: "LZMA", 34926: "Zstandard", 34933: "PNG", 34934: "JPEG XR", 50000: "Zstandard",
    50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
GENERAL = (UNCOMPRESSED, 5, 8, 32773, 32946, 34925, 34926, 50000)
PILLOW = (UNCOMPRESSED, 2, 3, 4, 5, tiff_header.OLD_JPEG, tiff_header.JPEG, 8, 32773, 32946, 34925, 50000)
"""Compressions that the libtiff in Pillow reads."""

_JPEG_2000, _LERC, _WEBP, _JPEG_XL = 34712, 34887, 50001, 50002
_SIZED = {_JPEG_2000: "jpeg2k", _LERC: "lerc", _WEBP: "webp", _JPEG_XL: "jpegxl"}


def name(page: TiffPage) -> str:
    return NAMES.get(page.compression, f"unknown ({page.compression})")


def is_read(header: TiffHeader, page: TiffPage) -> bool:
    """Whether tifffile and imagecodecs together can read the compression of a page."""
    if page.compression == tiff_header.JPEG:
        grey = page.samples == 1 and page.photometric in (tiff_header.WHITE_IS_ZERO, tiff_header.BLACK_IS_ZERO)
        colour = page.samples == 3 and page.segment_samples == 3 and header.is_picture
        return page.bits == 8 and (grey or colour)
    if page.compression in _SIZED:
        return page.segment_samples <= 4 or page.compression == _LERC
    return page.compression in GENERAL


def needs_imagecodecs(page: TiffPage) -> bool:
    packed = page.bits % 8 != 0 or page.bits == 24
    reversed_bits = page.value(tiff_header.FILL_ORDER, 1) == 2
    predicted = page.value(tiff_header.PREDICTOR, 1) != 1
    return page.compression != UNCOMPRESSED or predicted or packed or reversed_bits


def sized_decoder(page: TiffPage) -> Callable[[bytes, tuple[int, int, int], np.dtype[Any]], NDArray[Any]] | None:
    """A decoder for pictures within a TIFF: bytes, (rows, columns, samples), type -> samples; None for the rest.

    It raises InvalidInputError, or the codec's exception, if the size or type differs.
    """
    codec = _SIZED.get(page.compression)
    if codec is None:
        return None
    import imagecodecs

    if not getattr(imagecodecs, codec.upper()).available:
        raise InvalidInputError(f"{name(page)} compression, which the installed imagecodecs does not read.")
    decode = getattr(imagecodecs, f"{codec}_decode")
    look = {_JPEG_2000: jpeg_2000_size, _WEBP: webp_size}.get(page.compression)

    def decode_sized(data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        rows, columns, samples = shape
        if look is not None:
            check_declared(look(data), (columns, rows))
        out = np.empty(shape if samples > 1 else shape[:2], dtype)
        more = {"hasalpha": samples == 4} if page.compression == _WEBP else {}
        decode(data, out=out, **more)  # a size or type other than that of `out` is an error before decoding
        return out.reshape(shape)

    return decode_sized


def check_declared(found: tuple[int, int] | None, expected: tuple[int, int]) -> None:
    """Raise InvalidInputError if the width and height of a picture within a TIFF are not those of its strip or tile."""
    if found != expected:
        size = "no size" if found is None else f"{found[0]}x{found[1]} pixels"
        raise InvalidInputError(f"a strip or tile that holds a picture of {size}, not {expected[0]}x{expected[1]}.")


def check_jpeg(data: bytes, expected: tuple[int, int], samples: int) -> None:
    """Raise InvalidInputError if a JPEG is larger than its strip or tile, or has a different number of samples.

    A last strip may be padded to the size of the others.
    """
    found = jpeg_size(data)
    if found is None or found[2] != samples or found[0] > expected[0] or found[1] > expected[1]:
        size = "no size" if found is None else f"{found[0]}x{found[1]} pixels of {found[2]} samples"
        raise InvalidInputError(
            f"a strip or tile that holds a JPEG of {size}, not {expected[0]}x{expected[1]} of {samples}."
        )


def jpeg_size(data: bytes) -> tuple[int, int, int] | None:
    """Width, height and components of a JPEG, from its only frame header (ITU-T T.81, B.2.2)."""
    position, found = 2, None
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return found
        marker = data[position + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 1 if marker == 0xFF else 2
            continue
        if marker == 0xDA or marker == 0xD9:  # start of pixels, or the end
            return found
        length = struct.unpack(">H", data[position + 2 : position + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if found is not None or position + 10 > len(data):
                return None
            height, width, count = struct.unpack(">HHB", data[position + 5 : position + 10])
            found = (width, height, count)
        position += 2 + length
    return found


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP with one frame (RFC 9649)."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8X" and not data[20] & 2:  # not animated
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


_SIZ = re.compile(b"\xff\x4f\xff\x51.{4}(.{32})", re.DOTALL)  # SOC, SIZ, its length and capabilities


def jpeg_2000_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG 2000 (ITU-T T.800, A.5.1); None if there may be no codestream, or several."""
    starts = [match[1] for match in _SIZ.finditer(data)]
    if len(starts) != 1:
        return None
    right, bottom, left, top = struct.unpack(">4I", starts[0][:16])
    return right - left, bottom - top
