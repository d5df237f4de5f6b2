"""Mean, deviation, extremes and what is not finite of stored tensors, piece by piece. numpy, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.float_bytes import FLOAT_DTYPES, to_float32
from zoo.core.stored_tensor import DTYPE_BITS, StoredTensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INTEGERS = {"BOOL": "u1", "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4"}
_NUMPY = _INTEGERS | {"I64": "<i8", "U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8"}


class TensorStatistics(NamedTuple):
    """Of the finite values: mean, standard deviation (of the population), least and largest; None where there is none.

    `num_nan` and `num_infinite` count the others, `num_zeros` those equal to 0.
    """

    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    num_nan: int
    num_infinite: int
    num_zeros: int


def tensor_statistics(tensor: StoredTensor) -> TensorStatistics | None:
    """Statistics of a tensor, None for a dtype that holds no ordinary numbers. Memory does not grow with the tensor.

    Raises InvalidInputError where the file became shorter.
    """
    import numpy as np

    if tensor.dtype not in (*_NUMPY, *FLOAT_DTYPES):
        return None
    count = num_nan = num_infinite = num_zeros = 0
    mean = squares = 0.0
    low, high = inf, -inf
    for values in _pieces(tensor):
        finite = values[np.isfinite(values)]
        num_nan += int(np.isnan(values).sum())
        num_infinite += int(np.isinf(values).sum())
        num_zeros += int((values == 0).sum())
        if not finite.size:
            continue
        # Means and sums of squares of two sets are joined as Chan, Golub and LeVeque do (1983).
        with np.errstate(over="ignore", invalid="ignore"):
            piece_mean = float(finite.mean())
            difference, total = piece_mean - mean, count + finite.size
            squares += float(((finite - piece_mean) ** 2).sum()) + difference**2 * count * finite.size / total
        mean += difference * finite.size / total
        count = total
        low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if not count:
        return TensorStatistics(None, None, None, None, num_nan, num_infinite, num_zeros)
    return TensorStatistics(mean, sqrt(squares / count), low, high, num_nan, num_infinite, num_zeros)


def _pieces(tensor: StoredTensor) -> Iterator[NDArray[Any]]:
    """The values as float64, some million at a time."""
    import numpy as np

    width, rest = DTYPE_BITS[tensor.dtype] // 8, b""
    for chunk in tensor.chunks(1 << 23):
        data = rest + bytes(chunk) if rest else chunk
        whole = len(data) // width * width
        rest = bytes(data[whole:])
        if not whole:
            continue
        if tensor.dtype == "BF16":
            yield to_float32(data[:whole], "BF16", (-1,)).astype(np.float64)
        else:
            yield np.frombuffer(data[:whole], _NUMPY[tensor.dtype]).astype(np.float64)
