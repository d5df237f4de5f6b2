"""The bytes of an input: a file, or a member of an uncompressed archive as a file of its own."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, cast

from zoo.core.errors import InvalidInputError
from zoo.core.inputs.image_input import ImageInput


def open_source(item: ImageInput) -> BinaryIO:
    """A seekable binary file of the bytes of one input.

    Raises:
        OSError: it cannot be opened.
        InvalidInputError: the member is not within its archive.
    """
    file = open(item.path, "rb", buffering=0)  # noqa: SIM115 - the caller closes it
    if not item.member:
        return io.BufferedReader(file)
    end = item.offset + item.size
    if item.offset < 0 or item.size < 0 or end > os.fstat(file.fileno()).st_size:
        file.close()
        raise InvalidInputError("the archive ends before its member does.")
    return cast(BinaryIO, io.BufferedReader(_Member(file, item.offset, item.size)))


class _Member(io.RawIOBase):
    """Bytes `start` to `start + size` of another file."""

    def __init__(self, file: io.FileIO, start: int, size: int) -> None:
        self._file, self._start, self._size = file, start, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning of the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        count = max(min(len(view), self._size - self._position), 0)
        data = os.pread(self._file.fileno(), count, self._start + self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
