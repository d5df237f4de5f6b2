"""How much two stored tensors of the same shape differ, piece by piece, so that memory use stays constant."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.files.float_bytes import FLOAT_DTYPES, from_float32, to_float32
from zoo.core.files.stored_tensor import StoredTensor, Unavailable
from zoo.core.files.stored_values import DECODED_DTYPES, decoded, piece_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TensorDifference(NamedTuple):
    """How two tensors differ, element by element.

    Args:
        same_bits: equal dtypes and bytes.
        max_abs, mean_abs: maximum and mean of |a - b| in double precision, over the elements where it is finite; equal
            infinities and two NaN differ by 0. None if a dtype cannot be decoded and the bytes differ.
        num_incomparable: number of elements where |a - b| is not finite: one is NaN or infinite and the other is not
            the same.
        a_rounds_to_b, b_rounds_to_a: whether one equals the other after rounding to its floating-point dtype; NaN
            equals NaN.
    """

    same_bits: bool
    max_abs: float | None = 0.0
    mean_abs: float | None = 0.0
    num_incomparable: int = 0
    a_rounds_to_b: bool = False
    b_rounds_to_a: bool = False

    def is_within(self, tolerance: float) -> bool:
        """Whether no element differs by more; with a tolerance of 0, whether every bit is the same."""
        if self.same_bits or not tolerance:
            return self.same_bits
        return self.max_abs is not None and not self.num_incomparable and self.max_abs <= tolerance


def tensor_difference(a: StoredTensor, b: StoredTensor) -> TensorDifference:
    """Compare two tensors of the same shape. Equal bytes are not decoded; numpy is imported only if they differ.

    Raises InvalidInputError if a file became shorter.
    """
    same_dtype = a.dtype == b.dtype
    if isinstance(a.data, Unavailable) or isinstance(b.data, Unavailable):
        return TensorDifference(False, None, None)
    if not {a.dtype, b.dtype} <= DECODED_DTYPES:
        same = same_dtype and all(x == y for x, y in piece_pairs(a, b))
        return TensorDifference(same_bits=True) if same else TensorDifference(False, None, None)
    total, size = 0.0, max(prod(a.shape), 1)
    largest, num_incomparable, same_bits = 0.0, 0, same_dtype
    rounds = [not same_dtype and {a.dtype, b.dtype} <= {*FLOAT_DTYPES}] * 2
    for x, y in piece_pairs(a, b):
        if same_dtype and x == y:
            continue
        same_bits = False
        absolute, incomparable = _absolute_difference(decoded(x, a.dtype), decoded(y, b.dtype))
        largest = max(largest, float(absolute.max(initial=0.0)))
        total += float((absolute / size).sum())  # divide first: a sum of large values would be infinite
        num_incomparable += incomparable
        rounds[0] = rounds[0] and _is_rounded(x, a.dtype, y, b.dtype)
        rounds[1] = rounds[1] and _is_rounded(y, b.dtype, x, a.dtype)
    mean = total * (size / (size - num_incomparable)) if num_incomparable < size else 0.0
    return TensorDifference(same_bits, largest, mean, num_incomparable, *rounds)


def _absolute_difference(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[np.float64], int]:
    """|x - y| where it is finite, otherwise 0; and the number of non-finite differences."""
    import numpy as np

    if x.dtype == y.dtype and x.dtype.kind in "iu":
        # Large integers have no exact double. Their differences wrap around to unsigned integers and do not overflow.
        unsigned = x.dtype.str.replace("i", "u")
        larger, smaller = np.maximum(x, y).view(unsigned), np.minimum(x, y).view(unsigned)
        return (larger - smaller).astype(np.float64), 0
    with np.errstate(invalid="ignore", over="ignore"):
        x, y = x.astype(np.float64), y.astype(np.float64)
        absolute = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y))
    incomparable = ~np.isfinite(absolute)
    absolute[incomparable] = 0.0
    return absolute, int(incomparable.sum())


def _is_rounded(source: bytes, dtype: str, target: bytes, target_dtype: str) -> bool:
    import numpy as np

    rounded = from_float32(to_float32(source, dtype, (-1,)), target_dtype)
    if rounded == target:
        return True
    # The bits of a NaN depend on the converter.
    return np.array_equal(decoded(rounded, target_dtype), decoded(target, target_dtype), equal_nan=True)
