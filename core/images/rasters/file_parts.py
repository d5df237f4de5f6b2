"""Concatenate parts of a file into one file, so that a decoder does not see metadata it need not read."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from typing import BinaryIO


class FileParts(io.RawIOBase):
    """A file that consists of ranges of another file, which its opener keeps open."""

    def __init__(self, file: BinaryIO, parts: Sequence[tuple[int, int]]) -> None:
        """Take the parts as (offset, length); the last may reach beyond the end of the file."""
        super().__init__()
        self._file = file
        self._parts: list[tuple[int, int]] = []
        for offset, length in parts:
            if self._parts and sum(self._parts[-1]) == offset:
                self._parts[-1] = self._parts[-1][0], self._parts[-1][1] + length
            else:
                self._parts.append((offset, length))
        self._starts = [0]
        for _, length in self._parts:
            self._starts.append(self._starts[-1] + length)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        """The position, in bytes from the start of the first part."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes; fewer only at the end."""
        left = self._starts[-1] - self._position if size is None or size < 0 else size
        found = bytearray()
        while left > 0 and self._position < self._starts[-1]:
            part = bisect_right(self._starts, self._position) - 1
            offset, length = self._parts[part]
            within = self._position - self._starts[part]
            self._file.seek(offset + within)
            data = self._file.read(min(left, length - within))
            if not data:
                break
            found += data
            self._position += len(data)
            left -= len(data)
        return bytes(found)
