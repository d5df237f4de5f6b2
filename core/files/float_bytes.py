"""Convert stored floating-point bytes to float32 arrays, back, and between dtypes, without torch."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING

from zoo.core.errors import InvalidInputError
from zoo.core.files.float8 import FLOAT8, SCALE, float8_values, to_float8
from zoo.core.files.stored_tensor import StoredTensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NUMPY = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
FLOAT_DTYPES = ("BF16", *_NUMPY, *FLOAT8)
_CAST_CHUNK = 1 << 22


def to_float32(data: bytes | memoryview, dtype: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Decode little-endian values of a safetensors dtype: F16, BF16, F32, F64 or one of float8.

    Raises InvalidInputError for a dtype without ordinary floats.
    """
    import numpy as np

    if dtype == "BF16":
        # bfloat16 is the upper half of a float32.
        bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(shape)
    if dtype in FLOAT8 or dtype == SCALE:
        return float8_values(dtype)[np.frombuffer(data, np.uint8)].reshape(shape)
    if dtype not in _NUMPY:
        raise InvalidInputError(f"An input layer must hold floating-point numbers, found {dtype}.")
    with np.errstate(over="ignore", invalid="ignore"):  # values beyond float32 become infinite, as in torch
        return np.frombuffer(data, _NUMPY[dtype]).astype(np.float32).reshape(shape)


def from_float32(values: NDArray[np.float32], dtype: str) -> bytes:
    """Encode as the safetensors dtype, rounding to nearest even; the inverse of `to_float32`."""
    import numpy as np

    if dtype == "BF16":
        bits = np.ascontiguousarray(values, "<f4").view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        # Rounding must not turn a NaN into an infinity.
        return np.where(np.isnan(values), (bits >> 16) | 0x40, rounded).astype("<u2").tobytes()
    if dtype in FLOAT8:
        return to_float8(values, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(_NUMPY[dtype]).tobytes()


def cast_dtype(tensor: StoredTensor, wanted: str) -> str:
    """The dtype of a tensor after casting all floating-point tensors to `wanted`; "" keeps every dtype.

    Raises InvalidInputError for floats that zoo does not decode.
    """
    if not wanted or tensor.dtype[0] not in "BF" or tensor.dtype == "BOOL":
        return tensor.dtype
    if tensor.dtype not in (*FLOAT_DTYPES, SCALE):
        raise InvalidInputError(f"{tensor.name[:80]} holds {tensor.dtype}, which zoo cannot turn into {wanted}.")
    return wanted


def cast_pieces(tensor: StoredTensor, dtype: str) -> Iterator[bytes]:
    """A tensor's bytes cast to a floating-point dtype, a few megabytes at a time."""
    return (from_float32(to_float32(chunk, tensor.dtype, (-1,)), dtype) for chunk in tensor.chunks(_CAST_CHUNK))


def is_finite(data: bytes | memoryview, dtype: str) -> bool:
    """Whether stored values hold neither NaN nor infinities; True for a dtype outside FLOAT_DTYPES."""
    import numpy as np

    if dtype == "BF16":  # all ones in the exponent
        return not ((np.frombuffer(data, "<u2") & 0x7F80) == 0x7F80).any()
    if dtype in FLOAT8:
        return bool(np.isfinite(float8_values(dtype)[np.frombuffer(data, np.uint8)]).all())
    return dtype not in _NUMPY or bool(np.isfinite(np.frombuffer(data, _NUMPY[dtype])).all())


def are_finite_floats(data: bytes | memoryview, dtype: str) -> bool:
    """`is_finite` for F32 or F64 in the standard library: slower for many values, but without importing numpy."""
    floats = array({"F32": "f", "F64": "d"}[dtype])
    floats.frombytes(data)
    if sys.byteorder == "big":
        floats.byteswap()
    return all(map(isfinite, floats))


def epsilon(dtype: str) -> float:
    """The largest relative error of rounding to a dtype of FLOAT_DTYPES through float32, as zoo does."""
    if dtype in FLOAT8:
        return 2.0 ** -(FLOAT8[dtype].mantissa + 1)
    return {"F16": 2.0**-11, "BF16": 2.0**-8}.get(dtype, 2.0**-24)


def half_of_smallest(dtype: str) -> float:
    """The largest error of rounding to a dtype of FLOAT_DTYPES near zero, where numbers are evenly spaced."""
    if dtype in FLOAT8:
        return 2.0 ** -(FLOAT8[dtype].bias + FLOAT8[dtype].mantissa)
    return {"F16": 2.0**-25, "BF16": 2.0**-134}.get(dtype, 2.0**-150)
