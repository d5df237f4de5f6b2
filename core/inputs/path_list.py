"""Lists of paths, as `find`, `ls` and spreadsheets write them. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from zoo.core.errors import InvalidInputError

_BLOCK = 1 << 16
_MAX_PATH = 1 << 16  # sixteen times what Linux takes
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_path_list(file: BinaryIO, name: str) -> Iterator[str]:
    """The paths in a list, in its order, decoded as file names are: one a line, or separated by NUL.

    NUL separates where one is found within the first 64 KiB. Of lines, blank ones are passed over, and the carriage
    return that Windows leaves at the end is taken off.

    Args:
        file: the list, read once from where it stands.
        name: what errors call it.

    Raises:
        InvalidInputError: it cannot be read, or is no list.
    """
    start = _read(file, name)
    separator = b"\0" if b"\0" in start else b"\n"
    for record in _split(file, name, start.removeprefix(_BYTE_ORDER_MARK), separator):
        if separator == b"\n":
            if b"\0" in record:
                raise InvalidInputError(f"{name} holds a NUL after 64 KiB of lines: it is no list of paths.", path=name)
            record = record.removesuffix(b"\r")
        if record.strip():
            yield os.fsdecode(record)


def _split(file: BinaryIO, name: str, start: bytes, separator: bytes) -> Iterator[bytes]:
    block, rest = start, b""
    while block:
        *records, rest = (rest + block).split(separator)
        yield from records
        if len(rest) > _MAX_PATH:
            raise InvalidInputError(f"{name} holds a line longer than any path: it is no list of paths.", path=name)
        block = _read(file, name)
    yield rest


def _read(file: BinaryIO, name: str) -> bytes:
    try:
        return file.read(_BLOCK)
    except OSError as error:
        raise InvalidInputError(f"{name} could not be read: {error.strerror}.", path=name) from error
