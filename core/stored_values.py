"""The numbers of a stored tensor as arrays, piece by piece. numpy, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zoo.core.float_bytes import to_float32
from zoo.core.stored_tensor import DTYPE_BITS, StoredTensor

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
    """The tensor's bytes, those of `count` values each time, wherever it lies.

    Raises InvalidInputError where its file became shorter.
    """
    size = count * DTYPE_BITS.get(tensor.dtype, 8) // 8
    rest = b""
    for chunk in tensor.chunks(size):
        rest = rest + chunk if rest else bytes(chunk)
        start = 0
        while len(rest) - start >= size:
            yield rest[start : start + size]
            start += size
        rest = rest[start:]
    if rest:
        yield rest


def decoded(data: bytes, dtype: str) -> NDArray[Any]:
    """Bytes of one of DECODED_DTYPES as a flat array: bfloat16 as float32, booleans as bytes, others as they are."""
    import numpy as np

    return to_float32(data, dtype, (-1,)) if dtype == "BF16" else np.frombuffer(data, _NUMPY[dtype])
