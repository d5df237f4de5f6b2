"""Read messages of protocol buffers field by field, without reading what is skipped.

Format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.stored_tensor import Region

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 500_000
"""The most fields that are looked at in one file: a field can take two bytes, so a file could hold a billion."""
_WINDOW = 1 << 16
_MOST_VARINT = 10


class Field(NamedTuple):
    """A field of a message: its number, its kind, and its value.

    `value` is the number of a VARINT; the bits of a FIXED64 or FIXED32; 0 for BYTES, which are at `data`.
    """

    number: int
    kind: int
    value: int
    data: Region


class Wire:
    """The fields of messages in one file, in the order of the file.

    Raises UnsoundError where the bytes are no message, or one with too many fields.
    """

    def __init__(self) -> None:
        self._window, self._start, self._fd = b"", 0, -1
        self._left = MAX_FIELDS

    def fields(self, message: Region) -> Iterator[Field]:
        """The fields of a message; a group, which no current format has, is an error."""
        position, end = message.offset, message.offset + message.length
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise UnsoundError(f"it has more than {MAX_FIELDS} fields", "")
            tag, position = self._varint(message.fd, position, end)
            number, kind = tag >> 3, tag & 7
            value, length = 0, 0
            if kind == VARINT:
                value, position = self._varint(message.fd, position, end)
            elif kind == BYTES:
                length, position = self._varint(message.fd, position, end)
            elif kind in (FIXED64, FIXED32):
                length = 8 if kind == FIXED64 else 4
            else:
                raise UnsoundError("it has a field of a kind that there is not")
            if length > end - position:
                raise UnsoundError("a field reaches beyond the message that it is in; the file ends too early")
            if kind in (FIXED64, FIXED32):
                value = int.from_bytes(self._bytes(message.fd, position, length), "little")
            yield Field(number, kind, value, Region(message.fd, position, length, message.path))
            position += length

    def numbers(self, field: Field, most: int) -> list[int]:
        """The numbers of a repeated field of VARINTs: one, or many packed; at most `most` of them."""
        if field.kind == VARINT:
            return [field.value]
        found: list[int] = []
        position, end = field.data.offset, field.data.offset + field.data.length
        while position < end:
            if len(found) == most:
                raise UnsoundError(f"it has a list of more than {most} numbers", "")
            value, position = self._varint(field.data.fd, position, end)
            found.append(value)
        return found

    def text(self, field: Field, most: int) -> str:
        """The text of a field, of at most `most` bytes."""
        if field.kind != BYTES or field.data.length > most:
            raise UnsoundError(f"it has a name or text of {field.data.length} bytes, over {most}", "")
        try:
            return self._bytes(field.data.fd, field.data.offset, field.data.length).decode()
        except UnicodeDecodeError:
            raise UnsoundError("it has a name that is no text") from None

    def _varint(self, fd: int, position: int, end: int) -> tuple[int, int]:
        raw = self._bytes(fd, position, min(_MOST_VARINT, end - position))
        value = 0
        for count, byte in enumerate(raw):
            value |= (byte & 0x7F) << (7 * count)
            if byte < 0x80:
                return value & ((1 << 64) - 1), position + count + 1
        raise UnsoundError("it has a number without an end")

    def _bytes(self, fd: int, position: int, length: int) -> bytes:
        at = position - self._start
        if fd != self._fd or at < 0 or at + length > len(self._window):
            self._window, self._start, self._fd = os.pread(fd, max(length, _WINDOW), position), position, fd
            at = 0
        return self._window[at : at + length]


def signed(value: int) -> int:
    """A VARINT as a signed 64-bit number."""
    return value - (1 << 64) if value >> 63 else value
