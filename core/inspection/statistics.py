"""Mean, deviation, extremes and non-finite counts of stored tensors, piece by piece. Uses numpy, not torch."""

from __future__ import annotations

from math import inf, sqrt
from typing import NamedTuple

from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.files.stored_values import DECODED_DTYPES, byte_pieces, decoded


class TensorStatistics(NamedTuple):
    """Mean, standard deviation (of the population), minimum and maximum of the finite values; None if there are none.

    `num_nan` and `num_infinite` count the other values, `num_zeros` those equal to 0.
    """

    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    num_nan: int
    num_infinite: int
    num_zeros: int


def tensor_statistics(tensor: StoredTensor) -> TensorStatistics | None:
    """Statistics of a tensor; None for a dtype without ordinary numbers. Memory use does not grow with the tensor.

    Raises InvalidInputError if the file became shorter.
    """
    import numpy as np

    if tensor.dtype not in DECODED_DTYPES:
        return None
    count = num_nan = num_infinite = num_zeros = 0
    mean = squares = 0.0
    low, high = inf, -inf
    for piece in byte_pieces(tensor):
        values = decoded(piece, tensor.dtype).astype(np.float64)
        finite = values[np.isfinite(values)]
        num_nan += int(np.isnan(values).sum())
        num_infinite += int(np.isinf(values).sum())
        num_zeros += int((values == 0).sum())
        if not finite.size:
            continue
        # Combine the means and sums of squares of two sets as Chan, Golub and LeVeque do (1983).
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
