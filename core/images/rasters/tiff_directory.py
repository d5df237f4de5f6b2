"""Write a one-page TIFF with only the checked tags, so that decoders use nothing that zoo has not checked.

Overviews, masks, duplicates and private tags are left out; counts and types are rewritten.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

from zoo.core.images.rasters import tiff_header
from zoo.core.images.rasters.tiff_header import TiffPage

_KEPT = (
    tiff_header.COMPRESSION, tiff_header.PHOTOMETRIC, tiff_header.FILL_ORDER, tiff_header.ORIENTATION,
    tiff_header.PLANAR, tiff_header.T4_OPTIONS, tiff_header.T6_OPTIONS, tiff_header.PREDICTOR, tiff_header.COLOUR_MAP,
    tiff_header.TILE_WIDTH, tiff_header.TILE_HEIGHT, tiff_header.INK_SET, tiff_header.EXTRA_SAMPLES,
    tiff_header.SAMPLE_FORMAT, tiff_header.JPEG_TABLES, tiff_header.YCBCR_COEFFICIENTS, tiff_header.YCBCR_SUBSAMPLING,
    tiff_header.YCBCR_POSITIONING, tiff_header.REFERENCE_BLACK_WHITE,
)  # fmt: skip
_RATIONALS = (tiff_header.YCBCR_COEFFICIENTS, tiff_header.REFERENCE_BLACK_WHITE)
_LONGS = (tiff_header.T4_OPTIONS, tiff_header.T6_OPTIONS, tiff_header.TILE_WIDTH, tiff_header.TILE_HEIGHT)
_SHORT, _LONG, _RATIONAL, _UNDEFINED = (3, "H"), (4, "I"), (5, "I"), (7, "B")


def one_page(page: TiffPage, order: str, segments: Sequence[bytes] = (b"",)) -> io.BytesIO:
    """A TIFF of one page, with its strips or tiles after the directory.

    Args:
        page: checked.
        order: byte order of its numbers and pixels, '<' or '>'.
        segments: its strips or tiles, in order; the default is a placeholder for reading only the directory.
    """
    _, height = page.segment_size
    entries: dict[int, tuple[tuple[int, str], Sequence[int]]] = {
        tiff_header.WIDTH: (_LONG, (page.width,)),
        tiff_header.HEIGHT: (_LONG, (page.height,)),
        tiff_header.BITS: (_SHORT, _for_samples(page, tiff_header.BITS, 1)),
        tiff_header.SAMPLES: (_SHORT, (page.samples,)),
        tiff_header.PHOTOMETRIC: (_SHORT, (page.photometric,)),
    }
    for tag in _KEPT:
        if tag in page.tags and not (tag == tiff_header.PLANAR and page.samples == 1):  # it confuses Pillow
            entries[tag] = (_type(tag), _integers(page.tags[tag]))
    if tiff_header.SAMPLE_FORMAT in page.tags:
        entries[tiff_header.SAMPLE_FORMAT] = (_SHORT, _for_samples(page, tiff_header.SAMPLE_FORMAT, 1))
    offsets, sizes = tiff_header.STRIP_OFFSETS, tiff_header.STRIP_BYTES
    if page.is_tiled:
        offsets, sizes = tiff_header.TILE_OFFSETS, tiff_header.TILE_BYTES
    else:
        entries[tiff_header.ROWS_PER_STRIP] = (_LONG, (height,))
    entries[sizes] = (_LONG, [len(data) for data in segments])
    entries[offsets] = (_LONG, [0] * len(segments))
    start = len(_directory(order, entries))
    positions = [start]
    for data in segments[:-1]:
        positions.append(positions[-1] + len(data))
    entries[offsets] = (_LONG, positions)
    file = io.BytesIO(_directory(order, entries))
    file.seek(0, io.SEEK_END)
    for data in segments:
        file.write(data)
    file.seek(0)
    return file


def _type(tag: int) -> tuple[int, str]:
    if tag in _RATIONALS:
        return _RATIONAL
    if tag == tiff_header.JPEG_TABLES:
        return _UNDEFINED
    return _LONG if tag in _LONGS else _SHORT


def _integers(values: tuple[Any, ...]) -> Sequence[int]:
    return values[0] if values and isinstance(values[0], bytes) else values


def _for_samples(page: TiffPage, tag: int, default: int) -> list[int]:
    """One value per sample; a file may state one for all."""
    values = list(page.tags.get(tag, ())) or [default]
    return (values + values[-1:] * page.samples)[: page.samples]


def _directory(order: str, entries: dict[int, tuple[tuple[int, str], Sequence[int]]]) -> bytes:
    """The header of a TIFF, its directory and the values stored outside it, padded to a multiple of 16."""
    begin = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    place = len(begin) + 2 + 12 * len(entries) + 4
    rows, values = [struct.pack(order + "H", len(entries))], b""
    for tag, ((kind, letter), numbers) in sorted(entries.items()):
        data = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        count = len(numbers) // 2 if kind == _RATIONAL[0] else len(numbers)
        inline = data.ljust(4, b"\0")
        if len(data) > 4:
            inline = struct.pack(order + "I", place + len(values))
            values += data + bytes(len(data) % 2)
        rows.append(struct.pack(order + "HHI", tag, kind, count) + inline)
    whole = begin + b"".join(rows) + bytes(4) + values
    return whole + bytes(-len(whole) % 16)
