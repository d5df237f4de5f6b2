"""Write safetensors files as a stream: header, alignment, copies. Standard library only."""

from __future__ import annotations

import errno
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from itertools import islice
from typing import Any

from zoo.core.errors import InvalidInputError
from zoo.core.files.atomic_output import OutputFile
from zoo.core.files.background import in_background
from zoo.core.files.safetensors_file import MAX_HEADER, is_text
from zoo.core.files.stored_tensor import (
    DTYPE_BITS,
    Computed,
    Data,
    Region,
    StoredTensor,
    became_shorter,
    could_not_be_read,
    length_of,
    require_storable,
)

_COPY_CHUNK = 1 << 24
_CHUNKS_AHEAD = 4
_BUFFER = 1 << 17
"""Small enough to stay in a core's own cache between reading and writing."""
_PAGE = 4096
_LEAST_SHARED = 1 << 20
"""Sharing fewer bytes takes longer than copying them, and fragments the file."""


def layout(
    tensors: Iterable[StoredTensor], metadata: Mapping[str, str], *, canonical: bool = False
) -> tuple[bytes, list[StoredTensor]]:
    """Header bytes and the order of the tensors: wider dtypes first, so that all are aligned, otherwise as given.

    If `canonical`, by name within a dtype, and the header is as long as its text: both then depend on the tensors and
    the metadata alone.

    Raises InvalidInputError for what no reader accepts: a reserved name or one that is not text, a dtype outside the
    format, a header over the limit.
    """
    given = list(tensors)
    for tensor in given:
        require_storable(tensor)
    if canonical:
        given.sort(key=lambda t: t.name)
    ordered = sorted(given, key=lambda t: -DTYPE_BITS[t.dtype])
    for tensor in ordered:
        if tensor.name == "__metadata__" or not is_text(tensor.name):
            raise InvalidInputError(f"A safetensors file cannot hold a tensor called {tensor.name[:80]!r}.")
    header: dict[str, Any] = {"__metadata__": _in_order(metadata)} if metadata else {}
    offset = 0
    for tensor in ordered:
        end = offset + tensor.nbytes
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = _compact(header)
    text += b" " * (-len(text) % 8)
    if not canonical:
        text += b" " * _page_shift(ordered, 8 + len(text))
    if len(text) > MAX_HEADER:
        raise InvalidInputError(f"The file's header would take {len(text)} bytes, over the limit of {MAX_HEADER}.")
    return len(text).to_bytes(8, "little") + text, ordered


def _in_order(metadata: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(metadata.items()))


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _page_shift(ordered: list[StoredTensor], position: int) -> int:
    """The number of bytes to move the data so that most copied bytes keep their position within a page.

    Such copies are a third faster, and some file systems can share their blocks. 0 if nothing is copied, or if the data
    would no longer be aligned to 8 bytes.
    """
    moved: dict[int, int] = {0: 0}
    for at, data in _placed(ordered, position):
        if isinstance(data, Region):
            shift = (data.offset - at) % _PAGE
            moved[shift] = moved.get(shift, 0) + data.length
    return max((shift for shift in moved if shift % 8 == 0), key=lambda shift: (moved[shift], -shift))


def write_safetensors(
    output: OutputFile,
    tensors: Iterable[StoredTensor],
    metadata: Mapping[str, str],
    late_metadata: Callable[[], Mapping[str, str]] | None = None,
    *,
    canonical: bool = False,
) -> None:
    """Write a whole file: bytes from other files are shared or copied while others are computed.

    The result is the same on every file system.

    Args:
        output: where to write.
        tensors, metadata: what to write.
        late_metadata: returns the metadata again, with the same length, after the tensors are written: for a value (a
            checksum) that is known only then.
        canonical: as for `layout`.

    Raises InvalidInputError if a source file became shorter; errors of the output are OSErrors.
    """
    header, ordered = layout(tensors, metadata, canonical=canonical)
    pieces = list(_placed(ordered, len(header)))
    unshared = _share([(at, data) for at, data in pieces if isinstance(data, Region)], output)
    output.reserve(len(header) + sum(tensor.nbytes for tensor in ordered))  # shared bytes take no space
    chunks = _chunks(unshared)
    for _, region in islice(chunks, _CHUNKS_AHEAD):
        _read_soon(region)
    by_kernel = hasattr(os, "copy_file_range") and not on_block_device(output)
    copy = partial(_copy_chunks, chunks, output, by_kernel)
    is_long = sum(region.length for _, region in chunks) > _COPY_CHUNK  # one core alone cannot keep a disk busy
    with in_background(copy), in_background(copy) if is_long else nullcontext():
        for position, data in pieces:
            if isinstance(data, Computed):
                for part in data.compute():
                    position = output.write_at(part, position)
            elif isinstance(data, bytes | memoryview):
                output.write_at(data, position)
    if late_metadata is not None:
        before, after = _compact(_in_order(metadata)), _compact(_in_order(late_metadata()))
        assert len(before) == len(after)
        header = header.replace(before, after, 1)
    output.write_at(header, 0)


def _placed(ordered: Iterable[StoredTensor], position: int) -> Iterator[tuple[int, Data]]:
    """Each tensor's data with its position in the file; adjacent data of one source are joined into one region."""
    first: Region | None = None  # the first of the adjacent regions
    start = length = 0
    for data in (tensor.data for tensor in ordered):
        if isinstance(data, Region):
            if first is not None and (data.fd, data.offset) == (first.fd, first.offset + length):
                length += data.length
            else:
                if first is not None:
                    yield start, first._replace(length=length)
                first, start, length = data, position, data.length
        else:
            if first is not None:
                yield start, first._replace(length=length)
            first = None
            yield position, data
        position += length_of(data)
    if first is not None:
        yield start, first._replace(length=length)


def _share(pieces: list[tuple[int, Region]], output: OutputFile) -> list[tuple[int, Region]]:
    """Share all whole pages that keep their position within a page; return the regions left to copy.

    After a failure, the same source is not tried again.
    """
    left: list[tuple[int, Region]] = []
    unable: set[int] = set()
    for position, region in pieces:
        before = -position % _PAGE
        whole = (region.length - before) // _PAGE * _PAGE
        start = region.offset + before
        if start % _PAGE or whole < _LEAST_SHARED or region.fd in unable:
            left.append((position, region))
        elif not output.share(region.fd, start, whole, position + before):
            unable.add(region.fd)
            left.append((position, region))
        else:
            after = region.length - before - whole
            edges = (
                (position, region._replace(length=before)),
                (position + before + whole, region._replace(offset=start + whole, length=after)),
            )
            left += [(at, edge) for at, edge in edges if edge.length]
    return left


def _chunks(pieces: Iterable[tuple[int, Region]]) -> deque[tuple[int, Region]]:
    """Cut the regions at multiples of one size in the output: the page cache handles large units best."""
    chunks: deque[tuple[int, Region]] = deque()
    for position, region in pieces:
        offset, end = region.offset, region.offset + region.length
        while offset < end:
            length = min(end - offset, _COPY_CHUNK - position % _COPY_CHUNK)
            chunks.append((position, region._replace(offset=offset, length=length)))
            offset, position = offset + length, position + length
    return chunks


def _copy_chunks(
    chunks: deque[tuple[int, Region]], output: OutputFile, by_kernel: bool, stopped: Callable[[], bool]
) -> None:
    """Copy chunks until none is left; several threads share the queue."""
    buffer = memoryview(bytearray(_BUFFER))
    while not stopped():
        try:
            position, region = chunks.popleft()
        except IndexError:
            return
        with suppress(IndexError):
            _read_soon(chunks[_CHUNKS_AHEAD - 1][1])
        copied = 0
        while by_kernel and copied < region.length:
            count = _copy_by_kernel(region, copied, output, position)
            by_kernel = count > 0  # some file systems copy nothing and report no error
            copied += count
        while copied < region.length:
            part = min(region.length - copied, _BUFFER - (position + copied) % _BUFFER)
            try:
                count = os.preadv(region.fd, [buffer[:part]], region.offset + copied)
            except OSError as error:
                raise could_not_be_read(region, error) from error
            if not count:
                raise became_shorter(region)
            output.write_at(buffer[:count], position + copied)
            copied += count
        output.start_writeback(position, copied)


def on_block_device(output: OutputFile) -> bool:
    """Whether the file system is on a local disk: what it cannot share, it copies page by page.

    Two threads that read and write are then faster, since only their writes wait for each other. A server (NFS, SMB)
    copies without sending bytes over the network.
    """
    return os.major(os.fstat(output.fd).st_dev) != 0


def _copy_by_kernel(region: Region, copied: int, output: OutputFile, position: int) -> int:
    """The number of further bytes of a region that the kernel copied; 0 if it cannot, or if the source ends."""
    try:
        return os.copy_file_range(
            region.fd, output.fd, region.length - copied, region.offset + copied, position + copied
        )
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def _read_soon(region: Region) -> None:
    """Tell the kernel which part of the source is read next; a file not yet in memory then copies twice as fast."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # this is only advice
            os.posix_fadvise(region.fd, region.offset, region.length, os.POSIX_FADV_WILLNEED)
