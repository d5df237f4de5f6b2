"""Find images in tar archives with one pass over the headers, to read them in place.

Standard library only. The formats: POSIX.1-1988 (ustar), POSIX.1-2001 (pax) and GNU tar.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from typing import Any

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.inputs.open_input import NO_OFFSET, TAR
from zoo.core.images.inputs.open_input import open_input as open_input
from zoo.core.images.inputs.plain_files import open_regular

_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ\0": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
_BLOCK = 512
_MAX_HEADER = 1 << 20
"""The most bytes for the headers of one member, including its long name and extended attributes."""

_MAX_GLOBAL_FIELDS = 64


def tar_members(path: str, extensions: tuple[str, ...]) -> Iterator[ImageInput]:
    """The files in an archive whose names end in one of `extensions` (lower case), in the order of the archive.

    Hidden ones are skipped, as in folders. Names are used unchanged, including absolute ones and `..`: they only name
    results, and nothing is opened by them. A link, sparse file or device becomes an input that `open_input` refuses, so
    that it is not lost silently. Memory does not grow with the number of members.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is compressed, damaged, or ends early.
    """
    with _HeaderReader(open_regular(path, path)) as reader:
        _refuse_compressed(path, reader)
        yield from _members(path, reader, extensions)


def packed_tar_members(path: str, extensions: tuple[str, ...]) -> Iterator[ImageInput]:
    """Like `tar_members`, for a compressed archive, which is unpacked to an unlinked temporary file.

    Also raises CannotWriteError if there is no room for it.
    """
    from zoo.core.images.inputs.packed_archive import unpacked

    with _HeaderReader(io.FileIO(os.dup(unpacked(path).fileno()))) as reader:
        reader.seek(0)
        _refuse_compressed(path, reader)
        for item in _members(path, reader, extensions):
            yield item._replace(packed=TAR) if item.offset != NO_OFFSET else item


def _members(path: str, reader: _HeaderReader, extensions: tuple[str, ...]) -> Iterator[ImageInput]:
    for member in _headers(path, reader):
        if member.isdir() or _is_hidden(member.name) or not member.name.lower().endswith(extensions):
            continue
        plain = member.isreg() and not member.issparse()
        place = (member.offset_data, member.size) if plain else (NO_OFFSET, 0)
        yield ImageInput(f"{path}/{member.name}", path, member.name, *place)


class _HeaderReader(io.BufferedReader):
    """Limits what tarfile reads of headers: tarfile trusts every length, and would read a header of gigabytes."""

    budget = _MAX_HEADER

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= self.budget:
            raise tarfile.ReadError(f"headers of a member take more than {_MAX_HEADER} bytes")
        self.budget -= size
        return super().read(size)


def _headers(path: str, reader: _HeaderReader) -> Iterator[tarfile.TarInfo]:
    """Every member, after checking that it is within the file and after the previous one."""
    size = os.fstat(reader.fileno()).st_size
    try:
        archive: Any = tarfile.TarFile(fileobj=reader, encoding="utf-8", errors="surrogateescape")
        end = 0
        while (member := _next_header(archive, reader)) is not None:
            if member.size < 0 or member.offset_data < end + _BLOCK or len(archive.pax_headers) > _MAX_GLOBAL_FIELDS:
                raise tarfile.ReadError(f"an invalid header at byte {member.offset}")
            end = archive.offset
            if not member.offset_data <= end <= size:
                raise tarfile.ReadError(f"it ends within {member.name!r}")
            yield member
        # An archive ends with a block of zeros; tarfile also takes a cut or damaged header for the end.
        reader.seek(archive.offset)
        if reader.read(_BLOCK) != bytes(_BLOCK):
            raise tarfile.ReadError(f"no header and no end mark at byte {archive.offset}")
    except Exception as error:  # the parser fails in many ways on damaged bytes
        reason = str(error) or type(error).__name__
        raise InvalidInputError(
            f"{path!r} is not a complete tar archive: {reason}.",
            hint="Check it with tar -tf, then copy or download it again.",
            path=path,
        ) from error


def _next_header(archive: Any, reader: _HeaderReader) -> tarfile.TarInfo | None:
    reader.budget = _MAX_HEADER
    archive.members.clear()  # it keeps all members that it has seen
    member: tarfile.TarInfo | None = archive.next()
    return member


def _refuse_compressed(path: str, reader: _HeaderReader) -> None:
    import shlex

    start = reader.peek(8)
    for magic, command in _COMPRESSED.items():
        if start.startswith(magic):
            raise InvalidInputError(
                f"{path!r} is compressed in a way that its name does not show, or that zoo does not read.",
                hint=f"Decompress it once: {command} {shlex.quote(path)}",
                path=path,
            )


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
