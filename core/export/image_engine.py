"""What computes the features of a batch of images: an interface, so that runs do not depend on the runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class ImageFeatures(NamedTuple):
    """The maps of one image, float32, and the number of NaN and infinite values in them."""

    maps: list[NDArray[np.float32]]
    nonfinite: int


def plain_memory(size: int) -> NDArray[np.float32]:
    """Memory for so many numbers."""
    return np.empty(size, np.float32)


class BatchMemory(NamedTuple):
    """How an engine takes its batches.

    Args:
        channels_innermost: whether the channels lie innermost in memory, as in decoded pixels, or outermost.
        underway: how many batches may be computed while the next is put together. Their memory is then left alone.
        allocate: gives memory for a number of float32 values.
    """

    channels_innermost: bool = True
    underway: int = 0
    allocate: Callable[[int], NDArray[np.float32]] = plain_memory


class ImageEngine(Protocol):
    """Computes the features of images."""

    @property
    def batch_memory(self) -> BatchMemory:
        """How it takes batches."""

    def start(self, batch: NDArray[np.float32]) -> Callable[[], list[ImageFeatures]]:
        """Begin to compute a batch (N, C, H, W). The function returned waits for the features of each image."""

    def to_dict(self) -> dict[str, Any]:
        """The settings that affect the output values, as plain values for a `config.json`."""
