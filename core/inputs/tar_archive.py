"""Images in uncompressed tar archives, found by one pass over the headers and read in place, never unpacked.

Standard library only. The formats: POSIX.1-1988 (ustar), POSIX.1-2001 (pax) and GNU tar.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.inputs.image_input import ImageInput

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ARCHIVES = (".tar", ".tar.bz2", ".tar.gz", ".tar.xz", ".tar.zst", ".tbz2", ".tgz", ".txz")
"""How the names of archives end; of these only uncompressed ones can be read."""

_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ\0": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
_BLOCK = 512
_MAX_HEADER = 1 << 20
"""Bytes that the headers of one member may take, its long name and extended attributes with them."""

_MAX_GLOBAL_FIELDS = 64
_NO_OFFSET = 0  # where the first header is, so no data


def tar_members(path: str, extensions: tuple[str, ...]) -> Iterator[ImageInput]:
    """The files in an archive whose names end in one of `extensions` (lower case), in the order of the archive.

    Hidden ones are passed over, as in folders. Names are taken as they are, absolute ones and `..` too: they name
    results, and nothing is ever opened by them. A link, sparse file or device comes as an input that `open_input`
    refuses, so that it is not lost without a word. Memory does not grow with the number of members.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is compressed, damaged, or ends early.
    """
    with _HeaderReader(_open_regular(path, path)) as reader:
        _refuse_compressed(path, reader)
        for member in _headers(path, reader):
            if member.isdir() or _is_hidden(member.name) or not member.name.lower().endswith(extensions):
                continue
            plain = member.isreg() and not member.issparse()
            place = (member.offset_data, member.size) if plain else (_NO_OFFSET, 0)
            yield ImageInput(f"{path}/{member.name}", path, member.name, *place)


def open_input(item: ImageInput) -> BinaryIO:
    """An input's bytes, seekable: the file, or exactly the part of the archive that the member takes.

    Raises:
        NotFoundError: the file is gone.
        InvalidInputError: it is no regular file, cannot be read, ends before the member does, or the member has no
            bytes of its own.
    """
    if item.member and item.offset == _NO_OFFSET:
        raise InvalidInputError(
            f"{item.source!r} is a link, a sparse file or a device in the archive, where a plain file was expected.",
            hint="Pack it with tar --dereference --hard-dereference, without --sparse.",
            path=item.source,
        )
    file = _open_regular(item.path, item.source)
    if not item.member:
        return io.BufferedReader(file)
    available = os.fstat(file.fileno()).st_size
    if item.offset + item.size > available:
        file.close()
        raise InvalidInputError(
            f"{item.path!r} ends at byte {available}, before its member {item.member!r} does: it was changed.",
            path=item.source,
        )
    return io.BufferedReader(_MemberBytes(file, item.offset, item.size))


def _open_regular(path: str, source: str) -> io.FileIO:
    try:
        file = io.FileIO(path, opener=_open_without_waiting)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"There is no file {path!r} (any more).", path=source) from None
    except OSError as error:
        raise InvalidInputError(f"{path!r} could not be opened: {error.strerror}.", path=source) from error
    except ValueError:
        raise InvalidInputError(f"{path!r} holds a character that no file name can.", path=source) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InvalidInputError(f"{path!r} is not a regular file.", path=source)
    return file


def _open_without_waiting(path: str, flags: int) -> int:
    """Not for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


class _MemberBytes(io.RawIOBase):
    """The bytes of a member as a file of its own."""

    def __init__(self, archive: io.FileIO, offset: int, size: int) -> None:
        self._archive = archive
        self._offset = offset
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("negative seek position")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._position)]
        self._archive.seek(self._offset + self._position)
        count = self._archive.readinto(view)
        self._position += count
        return count

    def close(self) -> None:
        self._archive.close()
        super().close()


class _HeaderReader(io.BufferedReader):
    """What tarfile reads headers through: it believes every length, and would read a header of gigabytes."""

    budget = _MAX_HEADER

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= self.budget:
            raise tarfile.ReadError(f"headers of a member take more than {_MAX_HEADER} bytes")
        self.budget -= size
        return super().read(size)


def _headers(path: str, reader: _HeaderReader) -> Iterator[tarfile.TarInfo]:
    """Every member, after checking that it lies in the file, behind the one before it."""
    size = os.fstat(reader.fileno()).st_size
    try:
        archive: Any = tarfile.TarFile(fileobj=reader, encoding="utf-8", errors="surrogateescape")
        end = 0
        while (member := _next_header(archive, reader)) is not None:
            if member.size < 0 or member.offset_data < end + _BLOCK or len(archive.pax_headers) > _MAX_GLOBAL_FIELDS:
                raise tarfile.ReadError(f"nonsense in the header at byte {member.offset}")
            end = archive.offset
            if not member.offset_data <= end <= size:
                raise tarfile.ReadError(f"it ends within {member.name!r}")
            yield member
        # An archive ends with a block of zeros; tarfile takes a cut or damaged header for the end, too.
        reader.seek(archive.offset)
        if reader.read(_BLOCK) != bytes(_BLOCK):
            raise tarfile.ReadError(f"no header and no end mark at byte {archive.offset}")
    except Exception as error:  # the parser trips in many ways on damaged bytes
        reason = str(error) or type(error).__name__
        raise InvalidInputError(
            f"{path!r} is not a complete tar archive: {reason}.",
            hint="See what tar -tf says of it, and copy or download it again.",
            path=path,
        ) from error


def _next_header(archive: Any, reader: _HeaderReader) -> tarfile.TarInfo | None:
    reader.budget = _MAX_HEADER
    archive.members.clear()  # it keeps all that it has seen
    member: tarfile.TarInfo | None = archive.next()
    return member


def _refuse_compressed(path: str, reader: _HeaderReader) -> None:
    import shlex

    start = reader.peek(8)
    for magic, command in _COMPRESSED.items():
        if start.startswith(magic):
            raise InvalidInputError(
                f"{path!r} is compressed; members can be read in place only from a plain tar archive.",
                hint=f"Unpack the compression once: {command} {shlex.quote(path)}",
                path=path,
            )


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
