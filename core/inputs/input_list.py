"""The list of inputs, kept on disk so that its length costs next to no memory. Standard library only."""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import IO, overload

from zoo.core.errors import CannotWriteError
from zoo.core.inputs.image_input import ImageInput, Window

_RUN_BYTES = 1 << 21
"""How much is sorted at a time: a million records are some 50 runs, each read back through a window of its own."""

_READ_BYTES = 1 << 15


class InputList(Sequence[ImageInput]):
    """Inputs in a fixed order, read from an unlinked temporary file as they are asked for.

    A slice is a list over the same file. Reading moves no file position: threads and forked processes may share one.

    Args:
        lines: what is read.
        positions: which of the lines, in which order.
    """

    def __init__(self, lines: _LineFile, positions: range | None = None) -> None:
        self._lines = lines
        self._positions = range(len(lines)) if positions is None else positions

    @classmethod
    def in_order(cls, items: Iterable[ImageInput]) -> InputList:
        """The items as they come; their ids must be unique. Raises CannotWriteError where the disk is full."""
        lines = _LineFile()
        for item in items:
            lines.append(_to_line(item))
        return cls(lines.finish())

    @classmethod
    def sorted_by_id(cls, items: Iterable[ImageInput]) -> InputList:
        """The items by id, compared as text by code point: the same order on every machine.

        Of items with one id the last counts: a file that was named twice, or the newer of two members of an archive
        with one name, which is also the one that unpacking leaves. Raises CannotWriteError where the disk is full.
        """
        spool = _LineFile()
        runs: list[range] = []
        run: list[tuple[_Order, bytes]] = []
        size = 0
        for item in items:
            line = _to_line(item)
            run.append((_order(item), line))
            size += len(line)
            if size >= _RUN_BYTES:
                runs.append(_write_run(spool, run))
                run, size = [], 0
        runs.append(_write_run(spool, run))
        del run  # its memory serves the merge
        spool.finish()
        return cls.in_order(_last_of_each_id(heapq.merge(*(map(_from_line, spool.read(r)) for r in runs), key=_order)))

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> ImageInput: ...
    @overload
    def __getitem__(self, index: slice) -> InputList: ...
    def __getitem__(self, index: int | slice) -> ImageInput | InputList:
        if isinstance(index, slice):
            return InputList(self._lines, self._positions[index])
        position = self._positions[index]
        return next(map(_from_line, self._lines.read(range(position, position + 1))))

    def __iter__(self) -> Iterator[ImageInput]:
        return map(_from_line, self._lines.read(self._positions))

    @cached_property
    def sha256(self) -> str:
        """Hex digest of all records in order: ids and sources, and where in archives and rasters they lie."""
        digest = hashlib.sha256()
        for line in self._lines.read(self._positions):
            digest.update(line)
        return digest.hexdigest()


class _LineFile:
    """Lines in an unlinked temporary file, appended once, then read by their number."""

    def __init__(self) -> None:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(prefix="zoo-inputs-")
        except OSError as error:
            raise _no_space(error) from error
        self._offsets = array("Q", [0])

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def append(self, line: bytes) -> None:
        """Add a line, which ends with its only newline."""
        try:
            self._file.write(line)
        except OSError as error:
            raise _no_space(error) from error
        self._offsets.append(self._offsets[-1] + len(line))

    def finish(self) -> _LineFile:
        """Bring every line to where `read` finds it."""
        try:
            self._file.flush()
        except OSError as error:
            raise _no_space(error) from error
        return self

    def read(self, numbers: range) -> Iterator[bytes]:
        """The lines of these numbers, in this order; neighbours come by one read."""
        if numbers.step != 1:
            for number in numbers:
                yield self._block(number, number + 1)
            return
        start = numbers.start
        while start < numbers.stop:
            within = bisect_right(self._offsets, self._offsets[start] + _READ_BYTES, start, numbers.stop + 1) - 1
            stop = max(within, start + 1)
            yield from self._block(start, stop).splitlines(keepends=True)
            start = stop

    def _block(self, start: int, stop: int) -> bytes:
        begin = self._offsets[start]
        return os.pread(self._file.fileno(), self._offsets[stop] - begin, begin)


_Order = tuple[str, int]


def _order(item: ImageInput) -> _Order:
    return item.id, item.offset


def _write_run(spool: _LineFile, run: list[tuple[_Order, bytes]]) -> range:
    start = len(spool)
    for _, line in sorted(run):
        spool.append(line)
    return range(start, len(spool))


def _last_of_each_id(items: Iterable[ImageInput]) -> Iterator[ImageInput]:
    last: ImageInput | None = None
    for item in items:
        if last is not None and item.id != last.id:
            yield last
        last = item
    if last is not None:
        yield last


def _to_line(item: ImageInput) -> bytes:
    # ASCII: a newline in a name is escaped, and so are the lone surrogates that stand for bytes outside UTF-8.
    return json.dumps(item, separators=(",", ":")).encode("ascii") + b"\n"


def _from_line(line: bytes) -> ImageInput:
    *fields, window = json.loads(line)
    return ImageInput(*fields, Window(*window) if window else None)


def _no_space(error: OSError) -> CannotWriteError:
    return CannotWriteError(
        f"The list of inputs could not be written to the temporary folder: {error.strerror or error}.",
        hint="Free some space, or set TMPDIR to a folder that has some.",
    )
