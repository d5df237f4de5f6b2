"""The bytes of an input, seekable: a file, or a member of an archive. Standard library only."""

from __future__ import annotations

import io
import os
import zlib
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.inputs.plain_files import no_space, open_regular, temporary_file

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DEFLATE, TAR = "deflate", "tar"
"""How a member is packed: by itself, with the CRC-32 of what it unpacks to, or in a compressed archive of all."""

NO_OFFSET = 0
"""Where an archive's first header is, so no data: said of members that have no bytes of their own."""

MAX_MEMBER = 1 << 30
"""Bytes of one member, unpacked: what is more is taken for a bomb."""

_CHUNK = 1 << 20


class Place(NamedTuple):
    """Where the bytes of an opened input lie: in an open file, from an offset on."""

    fd: int
    offset: int
    size: int


def open_input(item: ImageInput) -> BinaryIO:
    """An input's bytes, seekable: the file, or exactly the part of the archive that the member takes.

    A member that is compressed by itself is unpacked to an unlinked temporary file; a compressed archive as a whole,
    once a process.

    Raises:
        NotFoundError: the file is gone.
        InvalidInputError: it is no regular file, cannot be read, ends before the member does, or the member has no
            bytes of its own, or is packed in a way that cannot be read.
        CannotWriteError: there is no room for what is unpacked.
    """
    if item.member and item.offset == NO_OFFSET:
        raise _unreadable_member(item)
    if item.packed == TAR:
        from zoo.core.images.inputs.packed_archive import unpacked

        file = unpacked(item.path)
        return io.BufferedReader(_MemberBytes(file, item.offset, item.size, shared=True))
    file = open_regular(item.path, item.source)
    if not item.member:
        return io.BufferedReader(file)
    available = os.fstat(file.fileno()).st_size
    if item.offset + item.size > available:
        file.close()
        raise InvalidInputError(
            f"{item.path!r} ends at byte {available}, before its member {item.member!r} does: the file was changed.",
            path=item.source,
        )
    member = _MemberBytes(file, item.offset, item.size)
    return io.BufferedReader(_inflated(member, item) if item.packed.startswith(DEFLATE) else member)


def place_of(file: BinaryIO) -> Place:
    """Where the bytes of what `open_input` gave lie."""
    raw = getattr(file, "raw", file)
    if isinstance(raw, _MemberBytes):
        return raw.place
    return Place(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def _unreadable_member(item: ImageInput) -> InvalidInputError:
    if item.packed:
        return InvalidInputError(
            f"{item.source!r} is {item.packed}, and cannot be read in place.",
            hint="Unpack the archive, and pass the folder.",
            path=item.source,
        )
    return InvalidInputError(
        f"{item.source!r} is a link, a sparse file or a device in the archive, where a plain file was expected.",
        hint="Pack it with tar --dereference --hard-dereference, without --sparse.",
        path=item.source,
    )


def _inflated(member: _MemberBytes, item: ImageInput) -> _MemberBytes:
    """What a member unpacks to, in a file of its own (RFC 1951)."""
    unpacked, inflate = temporary_file(), zlib.decompressobj(-zlib.MAX_WBITS)
    size = crc = 0
    try:
        with member:
            while not inflate.eof:
                packed = inflate.unconsumed_tail or member.read(_CHUNK)
                data = inflate.decompress(packed, _CHUNK)
                if not packed and not data:
                    raise InvalidInputError(f"{item.source!r} ends early in the archive.", path=item.source)
                size, crc = size + len(data), zlib.crc32(data, crc)
                if size > MAX_MEMBER:
                    raise InvalidInputError(
                        f"{item.source!r} unpacks to more than {MAX_MEMBER >> 30} GiB, the limit of one member.",
                        hint="Unpack the archive, and pass the folder.",
                        path=item.source,
                    )
                _write_all(unpacked, data)
        if f"{DEFLATE} {crc:08x}" != item.packed:
            raise zlib.error("its checksum does not match")
    except zlib.error as error:
        unpacked.close()
        raise InvalidInputError(f"{item.source!r} is damaged in the archive: {error}.", path=item.source) from error
    except BaseException:
        unpacked.close()
        raise
    return _MemberBytes(unpacked, 0, size)


def _write_all(file: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise no_space(error) from error


class _MemberBytes(io.RawIOBase):
    """The bytes of a member as a file of its own. It moves no position of the archive, which threads may share."""

    def __init__(self, archive: io.FileIO, offset: int, size: int, *, shared: bool = False) -> None:
        self._archive = archive
        self._offset = offset
        self._size = size
        self._shared = shared
        self._position = 0

    @property
    def place(self) -> Place:
        return Place(self._archive.fileno(), self._offset, self._size)

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
        count = os.preadv(self._archive.fileno(), [view], self._offset + self._position) if view else 0
        self._position += count
        return count

    def close(self) -> None:
        if not self._shared:
            self._archive.close()
        super().close()
