"""A model compiled for batches of one size, with kernels that are kept for the next run."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.core.errors import InvalidInputError, UsageError, ZooError
from zoo.core.files.user_folders import COMPILED, existing, state_folder

LARGEST_DIFFERENCE = {torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""From the model as it is, as a part of a map's largest number. Compiled, half precision is rounded less often."""

_IMAGES_COMPARED = 2

_SLOWER = 2.0
"""How many times as long a compiled model may take without a warning."""


class CompiledModel:
    """A model in evaluation mode, compiled by torch.compile when its first batch comes, which is compared with it.

    A warning tells if it is slower than the model.

    A batch that is smaller than others of its size is filled up: kernels for batches of any number are slower, and take
    another compilation. Kernels are kept in zoo's folder, or in TORCHINDUCTOR_CACHE_DIR. Weights stay arguments: made
    constants ("freezing"), they gained nothing in `bench/export.py --compile`, and pytorch/pytorch#190757 is about what
    they can cost.

    Args:
        model: image batch (N, C, H, W) -> maps. It is called in inference mode.

    Raises, when it is called:
        UsageError: the model cannot be compiled, or there is no compiler.
        InvalidInputError: it gives other numbers than the model.
    """

    def __init__(self, model: Callable[[Tensor], Sequence[Tensor]]) -> None:
        _keep_kernels()
        self._model = model
        self._compiled = torch.compile(model)
        self._largest_batches: dict[tuple[int, ...], int] = {}

    def __call__(self, batch: Tensor) -> Sequence[Tensor]:
        size = tuple(batch.shape[1:])
        number, largest = len(batch), self._largest_batches.get(size, 0)
        if number > largest:
            maps = self._first(batch)
            self._largest_batches[size] = number
            return maps
        if number < largest:
            filled = F.pad(batch, [0] * 7 + [largest - number])
            return [m[:number] for m in self._compiled(filled)]
        return self._compiled(batch)

    def _first(self, batch: Tensor) -> Sequence[Tensor]:
        """The maps of the first batch of a size, for which the model is compiled, compared with the model's own."""
        try:
            maps: Sequence[Tensor] = self._compiled(batch)
        except (ZooError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # compiler exceptions of many kinds
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UsageError(
                f"The model could not be compiled: {reason}.",
                hint="Leave out --compile; on the CPU it needs a C++ compiler.",
            ) from error
        some = batch[:_IMAGES_COMPARED]
        expected, seconds = _timed(self._model, some)
        difference = max(_difference(m[: len(e)], e) for m, e in zip(maps, expected, strict=True))
        largest = LARGEST_DIFFERENCE.get(batch.dtype, 0.0)
        if difference > largest:
            raise InvalidInputError(
                f"Compiled, the model differs by {difference:.1e} of a map's largest number, more than {largest:.0e}.",
                hint="Leave out --compile.",
            )
        if batch.device.type == "cpu":  # others compute on while this process reads the clock
            times = _timed(self._compiled, batch)[1] / len(batch) / (seconds / len(some))
            if times > _SLOWER:
                warnings.warn(
                    f"Compiled, the model takes {times:.0f} times as long: leave out --compile.", stacklevel=2
                )
        return maps


def _timed(model: Callable[[Tensor], Sequence[Tensor]], batch: Tensor) -> tuple[Sequence[Tensor], float]:
    """The maps of a batch, and the seconds that they took."""
    start = time.perf_counter()
    maps = model(batch)
    return maps, max(time.perf_counter() - start, 1e-9)


def _keep_kernels() -> None:
    """Let torch.compile keep its kernels among zoo's files, where the next run finds them."""
    folder = existing(state_folder)
    if folder is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / COMPILED))


def _difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a part of the largest expected number; numbers that are not finite do not count."""
    finite = found.isfinite() & expected.isfinite()
    scale = expected[finite].abs().amax().item() if finite.any() else 0.0
    return (found - expected)[finite].abs().amax().item() / scale if scale else 0.0
