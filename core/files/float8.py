"""Convert 8-bit floats to float32 arrays and back, without torch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from zoo.core.files.stored_tensor import StoredTensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Float8(NamedTuple):
    """An 8-bit format: sign, exponent, mantissa.

    Args:
        mantissa: number of mantissa bits.
        bias: bias of the exponent.
        infinities: whether the largest exponent means infinities and NaN, as in IEEE 754; otherwise only all ones are
            NaN.
        unsigned_zero: whether the code of negative zero is NaN, and the only NaN (FNUZ).
    """

    mantissa: int
    bias: int
    infinities: bool = False
    unsigned_zero: bool = False


# E4M3 and E5M2: arXiv:2209.05433; FNUZ: arXiv:2206.02915.
FLOAT8 = {
    "F8_E4M3": Float8(3, 7),
    "F8_E5M2": Float8(2, 15, infinities=True),
    "F8_E4M3FNUZ": Float8(3, 8, unsigned_zero=True),
    "F8_E5M2FNUZ": Float8(2, 16, unsigned_zero=True),
}
SCALE = "F8_E8M0"
"""Powers of two, used as scales of blocks (OCP Microscaling Formats 1.0): read, never written."""


@cache
def float8_values(dtype: str) -> NDArray[np.float32]:
    """The number for each of the 256 bytes; float32 holds all of them exactly."""
    import numpy as np

    codes = np.arange(256)
    if dtype == SCALE:
        powers: NDArray[np.float32] = np.where(codes == 255, np.nan, np.ldexp(1.0, codes - 127)).astype(np.float32)
        return powers
    mantissa_bits, bias, infinities, unsigned_zero = FLOAT8[dtype]
    mantissa, exponent = codes & ((1 << mantissa_bits) - 1), (codes & 0x7F) >> mantissa_bits
    significand = np.where(exponent > 0, mantissa + (1 << mantissa_bits), mantissa)
    values = np.ldexp(significand.astype(np.float64), np.maximum(exponent, 1) - bias - mantissa_bits)
    if infinities:
        values[exponent == (1 << (7 - mantissa_bits)) - 1] = np.nan
        values[mantissa + (exponent << mantissa_bits) == 0x1F << 2] = np.inf
    elif not unsigned_zero:
        values[(codes & 0x7F) == 0x7F] = np.nan
    values = np.where(codes >= 128, -values, values)
    if unsigned_zero:
        values[128] = np.nan
    numbers: NDArray[np.float32] = values.astype(np.float32)
    return numbers


def to_float8(values: NDArray[np.float32], dtype: str) -> bytes:
    """Round to the nearest number of the format, ties to the code with last bit zero; overflow as in torch."""
    import numpy as np

    table = float8_values(dtype)
    positive = table[:128][np.isfinite(table[:128])].astype(np.float64)
    flat = np.ascontiguousarray(values, np.float32).ravel()
    size = np.abs(flat.astype(np.float64))
    # One more number at the same spacing stands for everything that overflows.
    ends = np.append(positive, 2 * positive[-1] - positive[-2])
    middles = (ends[1:] + ends[:-1]) / 2
    codes = np.searchsorted(middles, size)
    tie = np.append(middles, np.inf)[codes] == size
    codes = codes + (tie & (codes % 2 == 1))
    overflows = (codes >= len(positive)) | np.isnan(flat)
    if FLOAT8[dtype].unsigned_zero:
        signs = np.where(np.signbit(flat) & (codes > 0), 128, 0)
        return np.where(overflows, 128, codes + signs).astype(np.uint8).tobytes()
    # E4M3 has no infinity: torch uses its largest number.
    beyond = np.where(np.isnan(flat), 0x7F, 0x7C if FLOAT8[dtype].infinities else len(positive) - 1)
    return (np.where(overflows, beyond, codes) + np.where(np.signbit(flat), 128, 0)).astype(np.uint8).tobytes()


def told_of_scales(tensors: Iterable[StoredTensor]) -> tuple[str, ...]:
    """The note for a cast of float8 tensors that are stored with their scales."""
    stored = list(tensors)
    scales = [tensor.name for tensor in stored if "scale" in tensor.name.rpartition(".")[2]]
    if not scales or not any(tensor.dtype in FLOAT8 for tensor in stored):
        return ()
    return (f"float8 values were cast as they are; {scales[0]} and its like were not multiplied in",)
