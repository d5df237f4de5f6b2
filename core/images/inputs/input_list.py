"""The list of inputs, kept on disk so that its length costs almost no memory. Standard library only."""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import sys
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import IO, overload

from zoo.core.errors import CannotWriteError
from zoo.core.images.inputs.image_input import ImageInput, Window

_RUN_BYTES = 1 << 22
"""Bytes to sort at a time: a million inputs make about 80 runs, each read back through blocks of its own."""

_READ_BYTES = 1 << 14

_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().decode


class InputList(Sequence[ImageInput]):
    """Inputs in a fixed order, read on demand from an unlinked temporary file.

    A slice is a list over the same file. Reading does not use the file position: threads and forked processes may share
    a list.

    Args:
        lines: the records, one per line.
        offsets: the start of each record in the file, and the end of the last.
        positions: the selected records, in order; all by default.
        root: a folder that contains all inputs; its location is not part of the list and its digest. Empty for none.
    """

    def __init__(self, lines: _LineFile, offsets: array[int], positions: range | None = None, root: str = "") -> None:
        self._lines = lines
        self._offsets = offsets
        self._positions = range(len(offsets) - 1) if positions is None else positions
        self.root = root

    @classmethod
    def in_order(cls, items: Iterable[ImageInput], root: str = "") -> InputList:
        """A list of the items in their order; their ids must be unique. Raises CannotWriteError if the disk is full."""
        return cls._of_lines((_to_line(_outside(item, root)) for item in items), root)

    @classmethod
    def sorted_by_id(cls, items: Iterable[ImageInput], root: str = "") -> InputList:
        """A list of the items sorted by id, compared by code point: the same order on every machine.

        Among items with the same id, the last counts: a file named twice, or the newer of two members with the same
        name in an archive, which unpacking also leaves. Raises CannotWriteError if the disk is full.
        """
        spool = _LineFile()
        runs = _write_runs(spool, (_outside(item, root) for item in items) if root else items)
        merged = heapq.merge(*(((_from_line(line), line) for line in spool.read(*run)) for run in runs))
        return cls._of_lines(_last_of_each_id(merged), root)

    @classmethod
    def _of_lines(cls, lines: Iterable[bytes], root: str) -> InputList:
        file, offsets = _LineFile(), array("Q", [0])
        for line in lines:
            offsets.append(file.append(line))
        file.finish()
        return cls(file, offsets, root=root)

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> ImageInput: ...
    @overload
    def __getitem__(self, index: slice) -> InputList: ...
    def __getitem__(self, index: int | slice) -> ImageInput | InputList:
        if isinstance(index, slice):
            return InputList(self._lines, self._offsets, self._positions[index], self.root)
        position = self._positions[index]
        return self._item(next(self._read(range(position, position + 1))))

    def __iter__(self) -> Iterator[ImageInput]:
        return map(self._item, self._read(self._positions))

    def _item(self, line: bytes) -> ImageInput:
        item = _from_line(line)
        return item._replace(path=os.path.join(self.root, item.path)) if self.root else item

    @cached_property
    def sha256(self) -> str:
        """Hex digest of all records in order: ids, sources, and positions in archives and rasters."""
        digest = hashlib.sha256()
        for line in self._read(self._positions):
            digest.update(line)
        return digest.hexdigest()

    def _read(self, positions: range) -> Iterator[bytes]:
        neighbours = [positions] if positions.step == 1 else (range(p, p + 1) for p in positions)
        for some in neighbours:
            if some:
                yield from self._lines.read(self._offsets[some.start], self._offsets[some.stop])


class _LineFile:
    """Lines in an unlinked temporary file: appended, finished, then read by position."""

    def __init__(self) -> None:
        self.size = 0
        self._file = _temporary_file()

    def append(self, line: bytes) -> int:
        """Add a line, which must not contain a newline; return the file's size in bytes after it."""
        try:
            self.size += self._file.write(line + b"\n")
        except OSError as error:
            raise _no_space(error) from error
        return self.size

    def finish(self) -> None:
        """Flush all lines so that `read` finds them."""
        try:
            self._file.flush()
        except OSError as error:
            raise _no_space(error) from error

    def read(self, begin: int, end: int) -> Iterator[bytes]:
        """The lines between two positions in bytes, without their newlines."""
        rest = b""
        while begin < end:
            block = os.pread(self._file.fileno(), min(_READ_BYTES, end - begin), begin)
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
            begin += len(block)


def _write_runs(spool: _LineFile, items: Iterable[ImageInput]) -> list[tuple[int, int]]:
    """Write the items in sorted runs; return the start and end of each run in the file."""
    runs = []
    source = iter(items)
    while run := _take(source, _RUN_BYTES):
        run.sort()
        begin = spool.size
        for item in run:
            spool.append(_to_line(item))
        runs.append((begin, spool.size))
    spool.finish()
    return runs


def _take(items: Iterator[ImageInput], limit: int) -> list[ImageInput]:
    """The next items, until they take about `limit` bytes."""
    taken, size = [], 0
    for item in items:
        taken.append(item)
        size += sys.getsizeof(item.id) + sys.getsizeof(item.path) + sys.getsizeof(item.member)
        if size >= limit:
            break
    return taken


def _last_of_each_id(merged: Iterable[tuple[ImageInput, bytes]]) -> Iterator[bytes]:
    last_id, last_line = "", b""
    for item, line in merged:
        if last_line and item.id != last_id:
            yield last_line
        last_id, last_line = item.id, line
    if last_line:
        yield last_line


def _outside(item: ImageInput, root: str) -> ImageInput:
    """The item with its path relative to the root."""
    return item._replace(path=os.path.relpath(item.path, root)) if root else item


def _to_line(item: ImageInput) -> bytes:
    # ASCII: newlines in names are escaped, as are the lone surrogates that stand for bytes outside UTF-8.
    return _encode(item if item.packed else item[:-1]).encode("ascii")


def _from_line(line: bytes) -> ImageInput:
    item = ImageInput(*_decode(line.decode("ascii")))
    return item if item.window is None else item._replace(window=Window(*item.window))


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(prefix="zoo-inputs-")
    except OSError as error:
        raise _no_space(error) from error


def _no_space(error: OSError) -> CannotWriteError:
    return CannotWriteError(
        f"The list of inputs could not be written to the temporary folder: {error.strerror or error}.",
        hint="Free some space, or set TMPDIR to a folder that has some.",
    )
