"""Recognise DICOM by its first bytes (PS3.10, section 7), even without the 128 bytes before "DICM"."""

from __future__ import annotations

import struct

PREAMBLE = 132  # bytes, "DICM" included
_LONG = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UN", b"UT", b"UC", b"UR", b"SV", b"UV")
_SHORT = (
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
)  # fmt: skip
_META = 2
_FIRST_GROUPS = (_META, 8, 0x10, 0x18, 0x20, 0x28)
_GROUPS = (*_FIRST_GROUPS, 0x32, 0x38, 0x40, 0x54, 0x7FE0)
_MOST_LENGTH = 1 << 12  # of an element at the start
_ELEMENTS = 3


def looks_like_dicom(start: bytes) -> bool:
    """Whether a file with this start is DICOM: by its mark, or by three elements in ascending order."""
    return start[128:132] == b"DICM" or any(_has_elements(start, *kind) for kind in (("<", 0), ("<", 1), (">", 0)))


def _has_elements(start: bytes, order: str, implicit: int) -> bool:
    position, last = 0, (0, -1)
    for number in range(_ELEMENTS):
        if len(start) < position + 8:
            return False
        tag = struct.unpack_from(f"{order}HH", start, position)
        if tag <= last or tag[0] not in (_GROUPS if number else _FIRST_GROUPS):
            return False
        last = tag
        kind = start[position + 4 : position + 6]
        if implicit and tag[0] != _META:
            (length,) = struct.unpack_from(f"{order}L", start, position + 4)
            position += 8
        elif kind in _SHORT:
            (length,) = struct.unpack_from(f"{order}H", start, position + 6)
            position += 8
        elif kind in _LONG and len(start) >= position + 12:
            (length,) = struct.unpack_from(f"{order}L", start, position + 8)
            position += 12
        else:
            return False
        position += length
        if length > _MOST_LENGTH or length % 2:
            return False
        if position >= len(start):
            return number > 0
    return True
