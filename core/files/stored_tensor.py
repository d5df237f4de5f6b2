"""A stored tensor: its name, dtype, shape, and the location of its bytes. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from zoo.core.errors import InvalidInputError

DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_CHUNK = 1 << 24


class Region(NamedTuple):
    """The `length` bytes at `offset` in an open file."""

    fd: int
    offset: int
    length: int
    path: str = ""


class Computed(NamedTuple):
    """Data of `length` bytes that `compute` yields piece by piece, while other data are copied."""

    length: int
    compute: Callable[[], Iterable[bytes | memoryview]]


class Unavailable(NamedTuple):
    """Data without plain values, as in a sparse tensor: `why` completes "it should be dense, found ..."."""

    why: str
    path: str = ""


Data = Region | Computed | Unavailable | bytes | memoryview


def length_of(data: Data) -> int:
    """The number of bytes."""
    if isinstance(data, Unavailable):
        return 0
    return data.length if isinstance(data, Region | Computed) else len(data)


class StoredTensor(NamedTuple):
    """One tensor: dtype, shape, and the location of its bytes (a file, or memory).

    The dtype has its safetensors name. A dtype outside the format has torch's name ("complex128"); such a tensor is
    read, compared and shown, but not written.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Data

    @property
    def nbytes(self) -> int:
        return length_of(self.data)

    def read(self) -> bytes | memoryview:
        """The tensor's bytes. Raises InvalidInputError if it has none, or if the file became shorter."""
        return self.data if isinstance(self.data, bytes | memoryview) else b"".join(self.chunks())

    def chunks(self, size: int = _CHUNK) -> Iterator[bytes | memoryview]:
        """The tensor's bytes in pieces; only data in files or memory come in pieces of `size` bytes. Raises as `read`.

        `stored_values.byte_pieces` gives pieces of one size for all data.
        """
        data = self.data
        if isinstance(data, Unavailable):
            raise self.refusal(f"should be dense, found {data.why}")
        if isinstance(data, Computed):
            yield from data.compute()
        elif isinstance(data, Region):
            offset, end = data.offset, data.offset + data.length
            while offset < end:
                part = _read_exactly(data, offset, min(end - offset, size))
                yield part
                offset += len(part)
        else:
            view = memoryview(data).cast("B") if len(data) else memoryview(b"")
            yield from (view[start : start + size] for start in range(0, len(view), size))

    def refusal(self, why: str) -> InvalidInputError:
        """The error for a tensor that cannot be used: `why` completes "tensor ... "."""
        import shlex

        path = self.data.path if isinstance(self.data, Region | Unavailable) else ""
        return InvalidInputError(
            f"{path}{': ' if path else ''}tensor {self.name[:80]!r} {why}.",
            hint=f"adapt-weights, convert and create leave it out with --drop {shlex.quote(self.name[:80])}.",
            path=path,
        )


def require_storable(tensor: StoredTensor) -> None:
    """Raise InvalidInputError if a safetensors file cannot hold the tensor."""
    if isinstance(tensor.data, Unavailable):
        raise tensor.refusal(f"should be dense, found {tensor.data.why}")
    if tensor.dtype not in DTYPE_BITS:
        raise tensor.refusal(f"should have a dtype that safetensors holds, found {tensor.dtype}")


def _read_exactly(region: Region, offset: int, count: int) -> bytes:
    parts = []
    while count:
        try:
            part = os.pread(region.fd, count, offset)
        except OSError as error:
            raise could_not_be_read(region, error) from error
        if not part:
            raise became_shorter(region)
        parts.append(part)
        offset, count = offset + len(part), count - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_into(region: Region, buffer: memoryview) -> memoryview:
    """Fill a buffer of the region's length with its bytes, and return it. Raises as `StoredTensor.read`."""
    filled = 0
    while filled < region.length:
        try:
            count = os.preadv(region.fd, [buffer[filled:]], region.offset + filled)
        except OSError as error:
            raise could_not_be_read(region, error) from error
        if not count:
            raise became_shorter(region)
        filled += count
    return buffer


def became_shorter(region: Region) -> InvalidInputError:
    """The error for a file that ends before its region does."""
    return InvalidInputError(
        f"{region.path or 'The weight file'} became shorter while it was being read.",
        hint="Run the command again when nothing writes to the file.",
        path=region.path,
    )


def could_not_be_read(region: Region, error: OSError) -> InvalidInputError:
    """The error for a file whose disk or server fails to deliver its content."""
    return InvalidInputError(
        f"{region.path or 'The weight file'} could not be read: {error.strerror}.",
        hint="Bring it from where it came from again; its disk may be failing.",
        path=region.path,
    )


def without_prefix(
    tensors: Iterable[StoredTensor], prefix: str, source: str
) -> tuple[dict[str, StoredTensor], list[StoredTensor]]:
    """The tensors whose names begin with `prefix`, by the rest of their names, and the tensors left out.

    Raises InvalidInputError if no name does; `source` is the file, for the message.
    """
    if not prefix:
        return {tensor.name: tensor for tensor in tensors}, []
    kept, left_out = {}, []
    for tensor in tensors:
        if tensor.name.startswith(prefix) and tensor.name != prefix:
            name = tensor.name.removeprefix(prefix)
            kept[name] = tensor._replace(name=name)
        else:
            left_out.append(tensor)
    if not kept:
        raise InvalidInputError(
            f"{source} holds no tensor whose name begins with {prefix!r}; it begins with"
            f" {', '.join(t.name[:80] for t in left_out[:3]) or 'none'}.",
            path=source,
        )
    return kept, left_out
