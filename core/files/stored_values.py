"""The values of a stored tensor as arrays, piece by piece. Uses numpy, not torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zoo.core.files.float_bytes import to_float32
from zoo.core.files.stored_tensor import DTYPE_BITS, StoredTensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMPY = {
    "BOOL": "u1", "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4", "I64": "<i8",
    "U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
DECODED_DTYPES = frozenset((*_NUMPY, "BF16"))
"""The dtypes of ordinary numbers: neither 8-bit floats nor complex numbers."""
PIECE = 1 << 18


def byte_pieces(tensor: StoredTensor, count: int = PIECE) -> Iterator[bytes]:
    """The tensor's bytes in pieces of `count` values, the last one shorter, independent of how the data are stored.

    Raises InvalidInputError if its file became shorter.
    """
    size = count * DTYPE_BITS.get(tensor.dtype, 8) // 8
    rest = b""
    for chunk in tensor.chunks(size):
        start = size - len(rest) if rest else 0  # the bytes that complete the piece that the last chunk began
        if len(chunk) < start:
            rest += chunk
            continue
        if rest:
            yield rest + chunk[:start]
        whole = start + (len(chunk) - start) // size * size
        yield from (bytes(chunk[begin : begin + size]) for begin in range(start, whole, size))
        rest = bytes(chunk[whole:])
    if rest:
        yield rest


def piece_pairs(a: StoredTensor, b: StoredTensor, count: int = PIECE) -> Iterator[tuple[bytes, bytes]]:
    """The bytes of the same `count` values of two tensors of the same shape, piece by piece.

    Neither the dtypes nor the way of reading matters: a tensor stored in order comes in chunks of any size, and a
    tensor reordered while it is read comes in one chunk.

    Raises ValueError if one tensor has more values than the other, InvalidInputError as `byte_pieces`.
    """
    return zip(byte_pieces(a, count), byte_pieces(b, count), strict=True)


def decoded(data: bytes, dtype: str) -> NDArray[Any]:
    """Bytes of one of DECODED_DTYPES as a flat array: bfloat16 as float32, booleans as bytes, others unchanged."""
    import numpy as np

    return to_float32(data, dtype, (-1,)) if dtype == "BF16" else np.frombuffer(data, _NUMPY[dtype])
