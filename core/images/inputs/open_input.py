"""Open the bytes of an input, seekable: a file, or a member of an archive. Standard library only."""

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
"""How a member is packed: separately, with the CRC-32 of the unpacked data, or within a compressed archive."""

NO_OFFSET = 0
"""The offset of an archive's first header, and so never of data: it marks members without bytes of their own."""

MAX_MEMBER = 1 << 30
"""The most bytes of one unpacked member; a larger one counts as a bomb."""

_CHUNK = 1 << 20


class Place(NamedTuple):
    """The location of an opened input's bytes: an open file, an offset and a size."""

    fd: int
    offset: int
    size: int


def open_input(item: ImageInput) -> BinaryIO:
    """Open an input's bytes, seekable: the file, or exactly the member's part of the archive.

    A separately compressed member is unpacked to an unlinked temporary file. A compressed archive is unpacked as a
    whole, once per process.

    Raises:
        NotFoundError: the file is gone.
        InvalidInputError: it is not a regular file, cannot be read, ends within the member, or the member has no bytes
            of its own or is packed in a way that cannot be read.
        CannotWriteError: there is no room for the unpacked data.
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
    """The location of the bytes behind a result of `open_input`."""
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
    """The unpacked member in its own file (RFC 1951)."""
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
    """The bytes of a member as a file. It keeps the archive's file position, so threads may share the archive."""

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
