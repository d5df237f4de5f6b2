"""Read compressed tar archives, each unpacked once to an unlinked temporary file. Standard library only.

Members have an offset in that file. No other way gives them in the order of an export with constant memory.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.plain_files import no_space, open_regular, temporary_file

PACKED_ARCHIVES = (".tar.bz2", ".tar.gz", ".tar.xz", ".tbz2", ".tgz", ".txz")
"""Name endings of the compressed archives that can be read."""

_CHUNK = 1 << 20
_MAX_MEMORY = 1 << 28
"""The most bytes for an xz decoder: eight times what `xz -9` needs."""
_MAX_RATIO = 100
_ALWAYS_ALLOWED = 1 << 30
"""Bytes that any archive may unpack to; larger ones up to _MAX_RATIO times their size, since images are compressed."""
_KEPT = 4
"""Number of archives kept unpacked: inputs are ordered, so the next one is in the same archive or the next archive."""

_kept: OrderedDict[tuple[str, int, int, int], io.FileIO] = OrderedDict()
_lock = threading.Lock()


def unpacked(path: str) -> io.FileIO:
    """The unpacked archive, for reading at positions; closed when nobody uses it any more.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is damaged, in an unknown compression, or unpacks to more than images would.
        CannotWriteError: the temporary folder has no room.
    """
    with _lock, open_regular(path, path) as packed:
        info = os.fstat(packed.fileno())
        key = (path, info.st_ino, info.st_size, info.st_mtime_ns)
        if key not in _kept:
            _kept[key] = _unpack(path, packed, max(_ALWAYS_ALLOWED, _MAX_RATIO * info.st_size))
            while len(_kept) > _KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        return _kept[key]


def _unpack(path: str, packed: io.FileIO, limit: int) -> io.FileIO:
    file = temporary_file()
    try:
        size = 0
        for chunk in _decompressed(path, packed):
            size += len(chunk)
            if size > limit:
                raise InvalidInputError(
                    f"{path!r} unpacks to more than {limit >> 20} MiB, more than images need.",
                    hint="Unpack it yourself if you trust it, and pass the folder.",
                    path=path,
                )
            try:
                os.pwrite(file.fileno(), chunk, size - len(chunk))
            except OSError as error:
                raise no_space(error) from error
    except BaseException:
        file.close()
        raise
    return file


def _decompressed(path: str, packed: io.FileIO) -> Iterator[bytes]:
    start = os.pread(packed.fileno(), 8, 0)
    try:
        if start.startswith(b"\x1f\x8b"):
            yield from _chunks(gzip.GzipFile(fileobj=packed).read)
        elif start.startswith(b"BZh"):
            yield from _chunks(bz2.BZ2File(packed).read)
        elif start.startswith(b"\xfd7zXZ\0"):
            yield from _from_xz(packed)
        else:
            yield from _chunks(packed.read)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InvalidInputError(
            f"{path!r} is not a complete compressed archive: {str(error) or type(error).__name__}.",
            hint="Copy or download it again.",
            path=path,
        ) from error


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while chunk := read(_CHUNK):
        yield chunk


def _from_xz(packed: io.FileIO) -> Iterator[bytes]:
    """Decompress with a memory limit, which lzma.LZMAFile lacks."""
    rest = packed.read(_CHUNK)
    while rest:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_MEMORY)
        while not decoder.eof:
            yield decoder.decompress(rest, _CHUNK)
            rest = packed.read(_CHUNK) if decoder.needs_input else b""
            if decoder.needs_input and not rest:
                raise EOFError("it ends early")
        rest = (decoder.unused_data or packed.read(_CHUNK)).lstrip(b"\0")  # streams may be padded
