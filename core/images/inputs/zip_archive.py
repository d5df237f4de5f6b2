"""Find images in zip archives: stored ones are read in place, deflated ones are unpacked one at a time.

Standard library only. The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from collections.abc import Iterator

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.inputs.open_input import DEFLATE, MAX_MEMBER, NO_OFFSET
from zoo.core.images.inputs.plain_files import open_regular

_MAX_DIRECTORY = 1 << 28
_ENCRYPTED = 1 | 1 << 6 | 1 << 13
_LOCAL = struct.Struct("<4s22xHH")


def zip_members(path: str) -> Iterator[ImageInput]:
    """The files in an archive, in the order of its directory; hidden ones are skipped, as in folders.

    Names are used unchanged: they only name results, and nothing is opened by them. A member that cannot be read (a
    link, encrypted, packed by a rare method, larger than the limit) becomes an input that `open_input` refuses.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is damaged, or ends early.
    """
    with _LimitedReader(open_regular(path, path)) as reader:
        size = os.fstat(reader.fileno()).st_size
        try:
            with zipfile.ZipFile(reader) as archive:
                entries = archive.infolist()
        except Exception as error:  # the parser fails in many ways on damaged bytes
            raise _damaged(path, str(error) or type(error).__name__) from error
        for entry in entries:
            hidden = any(part.startswith(".") and part not in (".", "..") for part in entry.filename.split("/"))
            if entry.is_dir() or hidden:
                continue
            packed = _unreadable(entry)
            offset, length = NO_OFFSET, 0
            if not packed and not stat.S_ISLNK(entry.external_attr >> 16):
                packed = f"{DEFLATE} {entry.CRC:08x}" if entry.compress_type == zipfile.ZIP_DEFLATED else ""
                offset, length = _data_offset(path, reader.fileno(), entry), entry.compress_size
                if offset + length > size or (not packed and length != entry.file_size):
                    raise _damaged(path, f"{entry.filename!r} is not where the directory says")
            yield ImageInput(f"{path}/{entry.filename}", path, entry.filename, offset, length, packed=packed)


def _unreadable(entry: zipfile.ZipInfo) -> str:
    """The reason why a member cannot be read; empty if it can."""
    if entry.flag_bits & _ENCRYPTED:
        return "encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"packed by method {entry.compress_type}"
    return f"larger than {MAX_MEMBER >> 30} GiB" if entry.file_size > MAX_MEMBER else ""


def _data_offset(path: str, fd: int, entry: zipfile.ZipInfo) -> int:
    """The offset of a member's data, after a local header whose length the directory does not state."""
    header = os.pread(fd, _LOCAL.size, entry.header_offset) if entry.header_offset >= 0 else b""
    if len(header) < _LOCAL.size or not header.startswith(b"PK\3\4"):
        raise _damaged(path, f"no header of {entry.filename!r} at byte {entry.header_offset}")
    _, name, extra = _LOCAL.unpack(header)
    return int(entry.header_offset) + _LOCAL.size + int(name) + int(extra)


def _damaged(path: str, reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path!r} is not a complete zip archive: {reason}.",
        hint="See what unzip -t says of it, and copy or download it again.",
        path=path,
    )


class _LimitedReader(io.BufferedReader):
    """Limits what zipfile reads: it reads the directory in one piece, whatever size the directory states."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MAX_DIRECTORY:
            if size in (None, -1):
                return super().read(_MAX_DIRECTORY)
            raise zipfile.BadZipFile(f"a directory of more than {_MAX_DIRECTORY >> 20} MiB")
        return super().read(size)
