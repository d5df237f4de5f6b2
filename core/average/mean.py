"""The average of tensors with the same shape, in float64 and piece by piece. Uses numpy, not torch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.files.float_bytes import from_float32, to_float32
from zoo.core.files.stored_tensor import DTYPE_BITS, Region, StoredTensor, read_into

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

_PIECE = 1 << 17
"""Values per piece: their float64 sums stay in a core's own cache."""
_THREADS = 2
_PIECES_AHEAD = 4
_KEPT = 16 << 20
_NUMPY = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<f4"}


class Mean(NamedTuple):
    """How several values become one.

    Args:
        weights: one per file; the sum of the products is divided by their sum, as `numpy.average` does. Empty for
            equal weights.
        decay: d of an exponential moving average over the files in order: a = x1, then a = d a + (1 - d) x. None if the
            weights say it.
    """

    weights: tuple[float, ...] = ()
    decay: float | None = None

    def shares(self, count: int) -> tuple[float, ...]:
        """The share of each of `count` files in the average."""
        if self.decay is not None:
            d = self.decay
            return (d ** (count - 1), *((1 - d) * d ** (count - 1 - i) for i in range(1, count)))
        weights = self.weights or (1.0,) * count
        return tuple(weight / sum(weights) for weight in weights)

    def of(self, arrays: Iterator[NDArray[Any]], scratch: Scratch) -> Values:
        """The average of arrays of one length, summed in float64; each is read when its turn comes."""
        import numpy as np

        first, number = next(arrays), 0
        total, product = scratch.total[: len(first)], scratch.product[: len(first)]
        total[:] = first
        if self.weights:
            total *= self.weights[0]
        for number, array in enumerate(arrays, start=1):
            product[:] = array  # numpy is slower at products and sums of two types than at converting
            if self.weights:
                product *= self.weights[number]
            if self.decay is not None:
                total *= self.decay
                product *= 1 - self.decay
            total += product
        if self.decay is None:
            total /= np.sum(self.weights) if self.weights else number + 1
        return total


class Scratch:
    """Memory for a thread's computations, which is used again: fresh memory costs more time than the sums."""

    def __init__(self, count: int) -> None:
        import numpy as np

        self.total = np.empty(count, np.float64)
        self.product = np.empty(count, np.float64)
        self.read = memoryview(bytearray(8 * count))


class Averager:
    """Computes averages on two threads, while the caller writes those computed before."""

    def __init__(self, mean: Mean) -> None:
        self._mean = mean
        # glibc keeps freed memory up to the size of the largest block that was ever freed; the kernel clears what it
        # gets anew, which would take as long as the sums.
        bytearray(_KEPT)
        self._threads = ThreadPoolExecutor(_THREADS)
        self._scratch = threading.local()

    def close(self) -> None:
        """Stop the threads; pieces that nobody waits for are not computed."""
        self._threads.shutdown(cancel_futures=True)

    def pieces(self, tensors: Sequence[StoredTensor], dtype: str) -> Iterator[bytes | memoryview]:
        """The bytes of the average of tensors of one shape, in a floating-point dtype of safetensors.

        Tensors that lie in files take the memory of a few pieces. If one has to be computed (transposed, unpacked), the
        sum of the whole tensor is held, and the tensors are read one after the other.
        """
        count = tensors[0].nbytes // _width(tensors[0].dtype)
        if not all(isinstance(tensor.data, Region) for tensor in tensors):
            yield _encoded(self._mean.of(map(_whole, tensors), Scratch(count)), dtype)
            return
        ahead: deque[Future[bytes | memoryview]] = deque()
        for start in range(0, count, _PIECE):
            ahead.append(self._threads.submit(self._piece, tensors, start, min(_PIECE, count - start), dtype))
            if len(ahead) > _PIECES_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _piece(self, tensors: Sequence[StoredTensor], start: int, count: int, dtype: str) -> bytes | memoryview:
        scratch: Scratch | None = getattr(self._scratch, "own", None)
        if scratch is None:
            scratch = self._scratch.own = Scratch(_PIECE)
        parts = (_decoded(_read(tensor, start, count, scratch.read), tensor.dtype) for tensor in tensors)
        return _encoded(self._mean.of(parts, scratch), dtype)


def _read(tensor: StoredTensor, start: int, count: int, buffer: memoryview) -> memoryview:
    assert isinstance(tensor.data, Region)
    width = _width(tensor.dtype)
    part = tensor.data._replace(offset=tensor.data.offset + start * width, length=count * width)
    return read_into(part, buffer[: part.length])


def _whole(tensor: StoredTensor) -> NDArray[Any]:
    return _decoded(tensor.read(), tensor.dtype)


def _width(dtype: str) -> int:
    """Bytes per real number; a complex number counts as two."""
    return 4 if dtype == "C64" else DTYPE_BITS[dtype] // 8


def _decoded(data: bytes | memoryview, dtype: str) -> NDArray[Any]:
    import numpy as np

    if dtype in _NUMPY:
        return np.frombuffer(data, _NUMPY[dtype])
    return to_float32(data, dtype, (-1,))


def _encoded(values: Values, dtype: str) -> bytes | memoryview:
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):  # a value beyond the dtype becomes infinite, as in torch
        if dtype in _NUMPY:
            return values.astype(_NUMPY[dtype]).data.cast("B")
        return from_float32(values.astype(np.float32), dtype)
