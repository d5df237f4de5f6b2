"""Turn a photograph upright: one rule, for its size before decoding and for its pixels.

zoo reads the tag itself. Pillow reads the whole directory for it, which costs memory (a block of 64 kB can refer to
itself five thousand times), warnings, and at worst the picture.
"""

from __future__ import annotations

import re
import struct
from contextlib import suppress

from PIL.Image import Transpose

_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
SIDEWAYS = (Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90)
"""Turns that swap width and height."""

_NUMBERS_OF_TURNS = {turn: number for number, turn in _TURNS.items()}

_ORIENTATION = 0x0112
_PREFIX = b"Exif\0\0"
# Numeric types (TIFF 6.0, page 15); bytes and text are excluded.
_NUMBERS = {3: "H", 4: "L", 5: "LL", 6: "b", 8: "h", 9: "l", 10: "ll", 11: "f", 12: "d", 13: "L"}
_RATIONALS = (5, 10)
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def turn_of(exif: bytes, xmp: bytes = b"") -> Transpose | None:
    """The turn that makes the picture upright; None if it is upright, or if nothing valid is stated.

    Args:
        exif: the EXIF block (a small TIFF), with or without its prefix.
        xmp: the XMP packet, used if EXIF states nothing.
    """
    stated = _in_exif(exif)
    if stated is None:
        found = _IN_XMP.search(xmp)
        stated = int(found[1]) if found else None
    return turn_by(stated)


def turn_by(value: object) -> Transpose | None:
    """Like `turn_of`, from the value of the tag, whatever its type."""
    return next((turn for number, turn in _TURNS.items() if value == number), None)


def turned(turn: Transpose | None) -> dict[str, int]:
    """The EXIF number of a turn, for the manifest; empty without a turn."""
    return {} if turn is None else {"orientation": _NUMBERS_OF_TURNS[turn]}


def _in_exif(exif: bytes) -> float | None:
    """The first number of the first orientation entry that has one; None without such a tag."""
    for _ in range(2):  # some writers repeat the prefix
        exif = exif.removeprefix(_PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    with suppress(struct.error):  # cut short: keep what was read before
        (start,) = struct.unpack_from(f"{order}L", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(f"{order}HHL", exif, entry)
            if tag == _ORIENTATION:
                stated = _first_number(exif, entry + 8, order, kind, count)
                if stated is not None:
                    return stated
    return None


def _first_number(exif: bytes, place: int, order: str, kind: int, count: int) -> float | None:
    if kind not in _NUMBERS or not count:
        return None
    form = order + _NUMBERS[kind]
    size = struct.calcsize(form) * count
    if size > 4:
        (place,) = struct.unpack_from(f"{order}L", exif, place)
        if place + size > len(exif):
            return None
    number, *divisor = struct.unpack_from(form, exif, place)
    if kind in _RATIONALS:
        return number / divisor[0] if divisor[0] else 0.0
    return float(number)
