"""Read a photograph's size, depth, orientation and decoding cost before a decoder sees it.

Pillow's own `open` is given only what the pixels need: it allocates by what metadata state, and for WebP and AVIF it
hands the whole file to a decoder before anybody has checked the size.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import BinaryIO, NamedTuple

from PIL import Image, features

from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters import jpeg, png, webp
from zoo.core.images.rasters.av1 import coded_sizes
from zoo.core.images.rasters.boxes import boxes, kind_of_heif, read_heif_header, read_jpeg2000_header
from zoo.core.images.rasters.decoding_memory import check_whole_size
from zoo.core.images.rasters.file_parts import FileParts
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.orientation import turn_of

_CODESTREAM = b"\xff\x4f\xff\x51"
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_BLANK = rb"(?:\s|#[^\n\r]*[\n\r])+"
_LARGEST = re.compile(rb"P[23]" + (_BLANK + rb"\d+") * 2 + _BLANK + rb"(\d{1,9})\b")
_BYTES_OF_A_TILE = 1 << 13  # that OpenJPEG keeps per tile, used or not


class PhotographHeader(NamedTuple):
    """Facts about a photograph. `size` is as stored, None if Pillow can read it from a header without harm.

    `stream` is the file for Pillow. `extra_bytes` are the bytes per pixel that its decoder takes in addition to the
    image, `fixed_bytes` those independent of the number of pixels. `coded_bytes` counts the file's bytes that belong to
    pixels, if they can be told from others.
    """

    pillow_format: str
    stream: BinaryIO | FileParts
    size: tuple[int, int] | None = None
    bits: int = 8
    turn: Image.Transpose | None = None
    extra_bytes: float = 0
    fixed_bytes: int = 0
    deep_grey_alpha: bool = False
    coded_bytes: Callable[[], int] | None = None


def is_photograph(start: bytes) -> bool:
    """Whether a file with this start is a photograph, except for TIFF."""
    return _reader_of(start) is not None


def read_header(file: BinaryIO, options: ReadOptions) -> PhotographHeader:
    """Read the facts that the file states; a size over the limit is refused.

    Raises:
        InvalidInputError: damaged, of several frames, or with more pixels than `options` allow.
    """
    file.seek(0)
    reader = _reader_of(file.read(64))
    file.seek(0)
    if reader is None:
        return PhotographHeader("TIFF", file)
    header = reader(file)
    if header.size is not None:
        check_whole_size(*header.size, 1, options)
    return header


def _jpeg(file: BinaryIO) -> PhotographHeader:
    header = jpeg.read_header(file)
    jpeg.check_scans(file, header)
    return PhotographHeader(
        "JPEG",
        FileParts(file, header.parts),
        (header.width, header.height),
        header.bits,
        turn_of(header.exif, header.xmp),
        2 * header.samples if header.in_scans else 0,  # all coefficients are held before the first pixel
        coded_bytes=partial(jpeg.coded_bytes, file, header),
    )


def _png(file: BinaryIO) -> PhotographHeader:
    header = png.read_header(file)
    deep = header.bits == 16
    return PhotographHeader(
        "PNG",
        FileParts(file, header.parts),
        (header.width, header.height),
        header.bits,
        turn_of(header.exif, header.xmp),
        (6 if header.colour_type == png.GREY else 20) if deep else 0,
        deep_grey_alpha=deep and header.colour_type == png.GREY_ALPHA,
        coded_bytes=partial(png.coded_bytes, file, header),
    )


def _webp(file: BinaryIO) -> PhotographHeader:
    _require("webp", "WebP")
    header = webp.read_header(file)
    if header.frames > 1:
        raise several_frames(header.frames, "an animated WebP")
    # The decoder is made for animations: it has two canvases, and returns a copy.
    turn = turn_of(header.exif, header.xmp)
    size = (header.width, header.height)
    return PhotographHeader("WEBP", file, size, 8, turn, 16, coded_bytes=lambda: header.coded_bytes)


def _avif(file: BinaryIO) -> PhotographHeader:
    _require("avif", "AVIF")
    file.seek(8)
    if file.read(4) == b"avis":
        raise several_frames("several", "an image sequence")
    header = read_heif_header(file)
    sizes = [(header.width, header.height)]
    for meta in (box for box in boxes(file, 0, file.seek(0, 2)) if box.kind == b"meta"):
        sizes += coded_sizes(file, meta)
    largest = max(sizes, key=lambda size: size[0] * size[1])
    return PhotographHeader("AVIF", file, largest, header.bits, None, 10)


def _jpeg2000(file: BinaryIO) -> PhotographHeader:
    _require("jpg_2000", "JPEG 2000")
    header = read_jpeg2000_header(file)
    if header.signed:
        raise InvalidInputError("a JPEG 2000 file of signed numbers, which is not read.")
    return PhotographHeader(
        "JPEG2000",
        file,
        (header.width, header.height),
        header.bits,
        None,
        8 * header.components,
        header.tiles * _BYTES_OF_A_TILE * max(1, header.components),
    )


def _bitmap_or_plain(file: BinaryIO) -> PhotographHeader:
    """PBM, and text PGM and PPM: Pillow's mode shows a maximum value above 255, but too late."""
    found = _LARGEST.match(file.read(1 << 12))
    return PhotographHeader("PPM", file, bits=16 if found and int(found[1]) > 255 else 8)


def _by_pillow(pillow_format: str) -> Callable[[BinaryIO], PhotographHeader]:
    return lambda file: PhotographHeader(pillow_format, file)


_READERS: dict[bytes, Callable[[BinaryIO], PhotographHeader]] = {
    b"\xff\xd8\xff": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"GIF87a": _by_pillow("GIF"),
    b"GIF89a": _by_pillow("GIF"),
    b"BM": _by_pillow("BMP"),
    _JP2: _jpeg2000,
    _CODESTREAM: _jpeg2000,
    **{b"P%c%c" % (kind, blank): _bitmap_or_plain for kind in b"1234" for blank in b" \t\r\n"},
}


def _reader_of(start: bytes) -> Callable[[BinaryIO], PhotographHeader] | None:
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _webp
    if kind_of_heif(start) == "AVIF":
        return _avif
    return next((reader for signature, reader in _READERS.items() if start.startswith(signature)), None)


def _require(feature: str, name: str) -> None:
    if not features.check(feature):
        raise InvalidInputError(
            f"{name}, which the installed Pillow {Image.__version__} was built without.",
            hint="Install a newer one: pip install --upgrade Pillow",
        )


def several_frames(count: int | str, what: str = "") -> InvalidInputError:
    """The error for a file with more than one picture."""
    of_what = f" ({what})" if what else ""
    return InvalidInputError(
        f"{count} frames or pages{of_what}, where one picture was expected.", hint="Save each as a file of its own."
    )
