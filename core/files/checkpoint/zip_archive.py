"""Read the directory of an untrusted zip archive; it must be right about every entry before any is used.

Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3 and 4.5.3 (zip64).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.stored_tensor import Region

MAX_ENTRIES = 100_000
_MAX_DIRECTORY = 1 << 25
STORED, DEFLATED = 0, 8
_SIZES_FOLLOW, _UTF8 = 1 << 3, 1 << 11
_NOT_PLAIN = 1 | 1 << 5 | 1 << 6 | 1 << 13
"""Flags of entries that are encrypted, patches, or hide their sizes (APPNOTE.TXT, 4.4.4)."""
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_UNSET = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
"""The value of a narrow field whose number is in a wide one."""
_CHUNK = 1 << 20


class ZipEntry(NamedTuple):
    """One entry: its name as written (never used as a path), and the location of its bytes, packed or not."""

    name: str
    method: int
    crc: int
    size: int
    """Unpacked size."""
    data: Region


def read_directory(path: str, fd: int) -> dict[str, ZipEntry]:
    """All entries by name, in the order of the directory.

    Raises UnsoundError: damaged, encrypted, two entries with the same name or place, more than MAX_ENTRIES entries.
    """
    directory, count = _directory(fd, os.fstat(fd).st_size)
    raw = os.pread(fd, directory.length, directory.offset)
    entries: dict[str, ZipEntry] = {}
    places: list[tuple[int, int, str]] = []
    position = 0
    for _ in range(count):
        entry, start, position = _entry(raw, position, Region(fd, 0, directory.offset, path))
        if entry.name in entries:
            raise UnsoundError(f"it has two entries called {entry.name[:80]!r}")
        entries[entry.name] = entry
        places.append((start, entry.data.offset + entry.data.length, entry.name))
    if position != len(raw):
        raise UnsoundError("its directory is longer than its entries")
    end = 0
    for start, stop, name in sorted(places):
        if start < end:
            raise UnsoundError(f"its entry {name[:80]!r} overlaps another")
        end = stop
    return entries


def checked_chunks(entry: ZipEntry) -> Iterator[bytes]:
    """The unpacked bytes of an entry. Raises UnsoundError at their end if size or checksum differ."""
    crc = size = 0
    for chunk in _chunks(entry):
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
        if size > entry.size:
            break
        yield chunk
    if (crc, size) != (entry.crc, entry.size):
        raise UnsoundError(f"its entry {entry.name[:80]!r} does not have the checksum that the archive states")


def _chunks(entry: ZipEntry) -> Iterator[bytes]:
    fd, start, length, _ = entry.data
    raw = (os.pread(fd, min(_CHUNK, length - at), start + at) for at in range(0, length, _CHUNK))
    if entry.method == STORED:
        yield from raw
        return
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in raw:
            while packed:
                yield unpacker.decompress(packed, _CHUNK)
                packed = unpacker.unconsumed_tail
        while tail := unpacker.decompress(b"", _CHUNK):
            yield tail
    except zlib.error as error:
        raise UnsoundError(f"its entry {entry.name[:80]!r} cannot be unpacked ({error})") from None


def _directory(fd: int, size: int) -> tuple[Region, int]:
    """The location of the directory, and its number of entries."""
    tail_start = max(0, size - _END.size - 0xFFFF)
    tail = os.pread(fd, size - tail_start, tail_start)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise UnsoundError("its directory is missing; it ends too early")
    _, disk, first_disk, here, count, length, offset, comment = _END.unpack_from(tail, at)
    end = tail_start + at
    if end + _END.size + comment != size:
        raise UnsoundError("something follows its directory")
    wide = _zip64_directory(fd, end)
    narrow = (here, count, length, offset)
    if wide is not None:  # torch writes a wide directory even in small archives
        end, (here, count, length, offset) = wide
        if any(value not in (other, unset) for value, other, unset in zip(narrow, wide[1], _UNSET, strict=True)):
            raise UnsoundError("its two directories differ")
    if disk or first_disk or here != count:
        raise UnsoundError("it is a part of several archives")
    if offset + length != end:
        raise UnsoundError("its directory is not where the archive says; something was put before the archive")
    if count > MAX_ENTRIES or length > _MAX_DIRECTORY:
        raise UnsoundError(f"it has {count} entries, over the limit of {MAX_ENTRIES}", "")
    return Region(fd, offset, length), count


def _zip64_directory(fd: int, end: int) -> tuple[int, tuple[int, int, int, int]] | None:
    """The end of the directory, its entries here and in all, its length and offset; None without wide numbers."""
    locator_at = end - _LOCATOR.size
    locator = os.pread(fd, _LOCATOR.size, locator_at) if locator_at >= 0 else b""
    if locator[:4] != b"PK\x06\x07":
        return None
    _, _, at, _ = _LOCATOR.unpack(locator)
    record = os.pread(fd, _ZIP64_END.size, at) if at + _ZIP64_END.size <= locator_at else b""
    if record[:4] != b"PK\x06\x06" or len(record) != _ZIP64_END.size:
        raise UnsoundError("its zip64 directory is missing")
    _, _, _, _, disk, first_disk, here, count, length, offset = _ZIP64_END.unpack(record)
    if disk or first_disk:
        raise UnsoundError("it is a part of several archives")
    return at, (here, count, length, offset)


def _entry(raw: bytes, position: int, room: Region) -> tuple[ZipEntry, int, int]:
    """An entry, the start of its local header, and the position of the next entry in the directory."""
    if position + _ENTRY.size > len(raw) or raw[position : position + 4] != b"PK\x01\x02":
        raise UnsoundError("its directory is damaged")
    (_, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length, _, _, _, start) = (
        _ENTRY.unpack_from(raw, position)
    )
    name_at = position + _ENTRY.size
    extra_at = name_at + name_length
    after = extra_at + extra_length + comment_length
    if after > len(raw):
        raise UnsoundError("its directory is damaged")
    raw_name = raw[name_at:extra_at]
    name = _decoded(raw_name, flags)
    size, packed, start = _zip64_sizes(raw[extra_at : extra_at + extra_length], [size, packed, start], name)
    if flags & _NOT_PLAIN:
        raise UnsoundError(f"its entry {name[:80]!r} is encrypted or a patch", "Unpack it first.")
    if method not in (STORED, DEFLATED) or (method == STORED and packed != size):
        raise UnsoundError(f"its entry {name[:80]!r} is packed in an unknown way")
    local = os.pread(room.fd, _LOCAL.size + name_length, start) if start < room.length else b""
    if len(local) != _LOCAL.size + name_length or local[:4] != b"PK\x03\x04":
        raise UnsoundError(f"its entry {name[:80]!r} is not where the directory says")
    _, _, local_flags, local_method, _, _, _, local_packed, _, local_name, local_extra = _LOCAL.unpack_from(local)
    follows = local_flags & _SIZES_FOLLOW or local_packed == 0xFFFFFFFF
    same = local_name == name_length and local[_LOCAL.size :] == raw_name and local_method == method
    if not same or not (follows or local_packed == packed):
        raise UnsoundError(f"its entry {name[:80]!r} is described in two ways")
    data = start + _LOCAL.size + name_length + local_extra
    if data + packed > room.length:
        raise UnsoundError(f"its entry {name[:80]!r} reaches beyond the file")
    return ZipEntry(name, method, crc, size, Region(room.fd, data, packed, room.path)), start, after


def _decoded(name: bytes, flags: int) -> str:
    try:
        return name.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise UnsoundError("it has an entry whose name is no text") from None


def _zip64_sizes(extra: bytes, values: list[int], name: str) -> list[int]:
    """Replace the values that do not fit into 32 bits with those of the zip64 field."""
    if 0xFFFFFFFF not in values:
        return values
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        field = extra[position + 4 : position + 4 + length]
        if kind == 1:
            wide = [i for i, value in enumerate(values) if value == 0xFFFFFFFF]
            if len(field) >= 8 * len(wide):
                for i, value in zip(wide, struct.unpack_from(f"<{len(wide)}Q", field), strict=True):
                    values[i] = value
                return values
        position += 4 + length
    raise UnsoundError(f"its entry {name[:80]!r} lacks its zip64 sizes")
