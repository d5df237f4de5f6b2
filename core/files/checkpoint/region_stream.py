"""A part of an open file as a stream that ends with the part."""

from __future__ import annotations

import io
import os

from zoo.core.files.stored_tensor import Region


class _RegionStream(io.RawIOBase):
    def __init__(self, region: Region) -> None:
        self._region, self._position = region, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._region.length}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        left = max(0, self._region.length - self._position)
        data = os.pread(self._region.fd, min(len(buffer), left), self._region.offset + self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def open_region(region: Region) -> io.BufferedReader:
    """A stream of the region's bytes; the file's own position does not change."""
    return io.BufferedReader(_RegionStream(region), 1 << 16)
