"""The average of tensors with the same shape, in float64 and piece by piece. Uses numpy, not torch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.files.float_bytes import from_float32, to_float32
from zoo.core.files.stored_tensor import DTYPE_BITS, Region, StoredTensor, read_into

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

_PIECE = 1 << 18
"""Values per piece: their float64 sums stay in the processor's cache, and handing pieces on costs little."""
_THREADS = 2
_PIECES_AHEAD = 10
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


class _Task(NamedTuple):
    """The tensors whose average is asked for, and its dtype."""

    tensors: Sequence[StoredTensor]
    dtype: str

    @property
    def num_values(self) -> int:
        """Real numbers in a tensor."""
        return self.tensors[0].nbytes // _width(self.tensors[0].dtype)

    @property
    def lies_in_files(self) -> bool:
        return all(isinstance(tensor.data, Region) for tensor in self.tensors)


class Averager:
    """Computes averages on two threads, while the caller writes those computed before.

    Pieces of the tensors to come are computed ahead, in the order in which these were added: the threads do not wait
    between two tensors.
    """

    def __init__(self, mean: Mean) -> None:
        self._mean = mean
        # glibc keeps freed memory up to the size of the largest block that was ever freed; the kernel clears what it
        # gets anew, which would take as long as the sums.
        bytearray(_KEPT)
        self._threads = ThreadPoolExecutor(_THREADS)
        self._scratch = threading.local()
        self._tasks: list[_Task] = []
        self._to_come: Iterator[tuple[int, int]] = iter(())  # task and first value of the pieces after those ahead
        self._ahead: deque[tuple[int, Future[bytes | memoryview]]] = deque()

    def close(self) -> None:
        """Stop the threads; pieces that nobody waits for are not computed."""
        self._threads.shutdown(cancel_futures=True)

    def add(self, tensors: Sequence[StoredTensor], dtype: str) -> Callable[[], Iterator[bytes | memoryview]]:
        """A function that gives the bytes of the average of tensors of one shape, in a float dtype of safetensors.

        Tensors that lie in files take the memory of a few pieces. If one has to be computed (transposed, unpacked), the
        sum of the whole tensor is held, and the tensors are read one after the other.
        """
        self._tasks.append(_Task(tensors, dtype))
        return partial(self._pieces, len(self._tasks) - 1)

    def _pieces(self, number: int) -> Iterator[bytes | memoryview]:
        task = self._tasks[number]
        if not task.lies_in_files:
            yield _encoded(self._mean.of(map(_whole, task.tensors), Scratch(task.num_values)), task.dtype)
            return
        if not self._ahead or self._ahead[0][0] != number:  # the first, or out of turn
            self._ahead.clear()
            self._to_come = self._places(number)
        while True:
            for coming, start in islice(self._to_come, _PIECES_AHEAD + 1 - len(self._ahead)):
                self._ahead.append((coming, self._threads.submit(self._piece, self._tasks[coming], start)))
            if not self._ahead or self._ahead[0][0] != number:
                return
            yield self._ahead.popleft()[1].result()

    def _places(self, first: int) -> Iterator[tuple[int, int]]:
        """The pieces of this task and of those after it."""
        for number in range(first, len(self._tasks)):
            if self._tasks[number].lies_in_files:
                yield from ((number, start) for start in range(0, self._tasks[number].num_values, _PIECE))

    def _piece(self, task: _Task, start: int) -> bytes | memoryview:
        scratch: Scratch | None = getattr(self._scratch, "own", None)
        if scratch is None:
            scratch = self._scratch.own = Scratch(_PIECE)
        count = min(_PIECE, task.num_values - start)
        parts = (_decoded(_read(tensor, start, count, scratch.read), tensor.dtype) for tensor in task.tensors)
        return _encoded(self._mean.of(parts, scratch), task.dtype)


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
