"""Writing safetensors files as a stream: header, alignment, copies. Standard library only."""

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
"""What stays in a core's own cache between reading and writing."""
_PAGE = 4096
_LEAST_SHARED = 1 << 20
"""To share less than this many bytes takes longer than to copy them, and leaves a file in many pieces."""


def layout(tensors: Iterable[StoredTensor], metadata: Mapping[str, str]) -> tuple[bytes, list[StoredTensor]]:
    """Header bytes and the order of the tensors: wider dtypes first, so that all are aligned; else as given.

    Raises InvalidInputError for what no reader takes: a name that the format keeps for itself or that is no text, a
    dtype that it does not have, a header over the limit.
    """
    given = list(tensors)
    for tensor in given:
        require_storable(tensor)
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
    text += b" " * _page_shift(ordered, 8 + len(text))
    if len(text) > MAX_HEADER:
        raise InvalidInputError(f"The file's header would take {len(text)} bytes, over the limit of {MAX_HEADER}.")
    return len(text).to_bytes(8, "little") + text, ordered


def _in_order(metadata: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(metadata.items()))


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _page_shift(ordered: list[StoredTensor], position: int) -> int:
    """How far to move the data for most of what is copied to keep its place within a page.

    Such copies are a third faster, and file systems that can share blocks share these. 0 where none is copied, or where
    the data would no longer be aligned to 8 bytes.
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
) -> None:
    """Write a whole file: bytes that lie in other files are shared or copied while others are computed.

    The bytes are the same whatever the file system can do.

    Args:
        output: where to.
        tensors, metadata: what.
        late_metadata: gives the metadata once more when the tensors are written, of the same length: for a value
            (a checksum) that is known only then.

    Raises InvalidInputError where a source file became shorter; errors of the output are OSErrors.
    """
    header, ordered = layout(tensors, metadata)
    pieces = list(_placed(ordered, len(header)))
    unshared = _share([(at, data) for at, data in pieces if isinstance(data, Region)], output)
    output.reserve(len(header) + sum(tensor.nbytes for tensor in ordered))  # what is shared takes no space
    chunks = _chunks(unshared)
    for _, region in islice(chunks, _CHUNKS_AHEAD):
        _read_soon(region)
    by_kernel = hasattr(os, "copy_file_range") and not _on_block_device(output)
    copy = partial(_copy_chunks, chunks, output, by_kernel)
    is_long = sum(region.length for _, region in chunks) > _COPY_CHUNK  # one core alone does not keep a disk busy
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
    """Each tensor's data with its position in the file; neighbours of one source as one region."""
    first: Region | None = None  # of the neighbours
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
    """Have the file system share all whole pages that keep their place within one; returns what is left to be copied.

    A source that cannot be shared is not tried again.
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
    """The regions in parts that end at multiples of one size in the output: the page cache stores large units."""
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
    """Copy until none is left; several threads share them."""
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
            by_kernel = count > 0  # some file systems copy nothing and call it no error
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


def _on_block_device(output: OutputFile) -> bool:
    """Whether the file system is one of a disk of this machine: what it does not share, it copies page by page.

    Two threads that read and write are then faster, as only their writes wait for each other. A server (NFS, SMB)
    copies without a byte on the network.
    """
    return os.major(os.fstat(output.fd).st_dev) != 0


def _copy_by_kernel(region: Region, copied: int, output: OutputFile, position: int) -> int:
    """How many more bytes of a region the kernel copied; 0 where it cannot, or the source ends."""
    try:
        return os.copy_file_range(
            region.fd, output.fd, region.length - copied, region.offset + copied, position + copied
        )
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def _read_soon(region: Region) -> None:
    """Tell the kernel what of the source is read next: a file that is not in memory then copies twice as fast."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # it is only advice
            os.posix_fadvise(region.fd, region.offset, region.length, os.POSIX_FADV_WILLNEED)
