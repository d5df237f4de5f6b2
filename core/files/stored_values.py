"""The numbers of a stored tensor as arrays, piece by piece. numpy, no torch."""

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
"""Those that hold ordinary numbers: neither 8 bits of floats nor complex ones."""
PIECE = 1 << 18


def byte_pieces(tensor: StoredTensor, count: int = PIECE) -> Iterator[bytes]:
    """The tensor's bytes, those of `count` values each time and the rest last, wherever it lies and however it is read.

    Raises InvalidInputError where its file became shorter.
    """
    size = count * DTYPE_BITS.get(tensor.dtype, 8) // 8
    rest = b""
    for chunk in tensor.chunks(size):
        start = size - len(rest) if rest else 0  # what completes the piece that the last chunk began
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
    """The bytes of the same `count` values of two tensors of one shape, piece by piece.

    Neither their dtypes nor how their bytes are read makes a difference: a tensor that lies in order in its file comes
    in chunks of any size, one that is put in order while it is read comes in one.

    Raises ValueError where one of them has more values than the other, InvalidInputError as `byte_pieces`.
    """
    return zip(byte_pieces(a, count), byte_pieces(b, count), strict=True)


def decoded(data: bytes, dtype: str) -> NDArray[Any]:
    """Bytes of one of DECODED_DTYPES as a flat array: bfloat16 as float32, booleans as bytes, others as they are."""
    import numpy as np

    return to_float32(data, dtype, (-1,)) if dtype == "BF16" else np.frombuffer(data, _NUMPY[dtype])
