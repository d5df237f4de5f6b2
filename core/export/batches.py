"""Group a stream of images into batches, and yield their results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoo.core.errors import ZooError

R = TypeVar("R")
Image = NDArray[np.float32]
Shape = tuple[int, ...]

WINDOW_BATCHES = 4
"""The number of batches that an image may wait for others of its size."""

WAITING_BYTES = 1 << 30
"""The most memory for images that wait for others of their sizes; with larger images, batches are smaller."""


def compute_in_order(
    images: Iterable[Image | ZooError],
    compute: Callable[[Image], Sequence[R]],
    batch_size: int,
    *,
    channels_innermost: bool = True,
) -> Iterator[R | ZooError]:
    """Compute in batches of equal shape; yield one result per image, in the order of the images.

    No image waits longer than WINDOW_BATCHES batches or while the waiting images exceed WAITING_BYTES, so memory is
    bounded for all shapes. Which images share a batch depends only on the shapes and the batch size.

    Args:
        images: float32 (C, H, W), or an error, which is passed through.
        compute: batch (N, C, H, W) -> one result per image. The batch is overwritten afterwards.
        batch_size: maximum number of images per batch.
        channels_innermost: whether a batch has its channels innermost in memory, as decoded pixels have, or outermost.
    """
    waiting: dict[Shape, list[tuple[int, Image]]] = {}
    results: dict[int, R | ZooError] = {}
    buffer = _BatchBuffer(channels_innermost)
    delivered = held = 0

    def run(shape: Shape) -> None:
        nonlocal held
        positions, group = zip(*waiting.pop(shape), strict=True)
        held -= sum(image.nbytes for image in group)
        results.update(zip(positions, compute(buffer.stack(group)), strict=True))

    def oldest_group() -> Shape:
        return min(waiting, key=lambda shape: waiting[shape][0][0])

    for position, image in enumerate(images):
        if isinstance(image, ZooError):
            results[position] = image
        else:
            group = waiting.setdefault(image.shape, [])
            group.append((position, image))
            held += image.nbytes
            if len(group) == batch_size:
                run(image.shape)
            while held > WAITING_BYTES:
                run(oldest_group())
        if position - delivered >= WINDOW_BATCHES * batch_size and delivered not in results:
            run(oldest_group())
        while delivered in results:
            yield results.pop(delivered)
            delivered += 1
    while waiting:
        run(oldest_group())
    yield from (results[position] for position in sorted(results))


class _BatchBuffer:
    """Memory of one batch, reused for the next; it grows to the largest batch."""

    def __init__(self, channels_innermost: bool) -> None:
        self._channels_innermost = channels_innermost
        self._memory = np.empty(0, np.float32)

    def stack(self, images: Sequence[Image]) -> Image:
        """The images as one array (N, C, H, W)."""
        channels, height, width = images[0].shape
        size = len(images) * channels * height * width
        if size > self._memory.size:
            self._memory = np.empty(size, np.float32)
        batch: NDArray[Any]
        if self._channels_innermost:
            batch = self._memory[:size].reshape(len(images), height, width, channels).transpose(0, 3, 1, 2)
        else:
            batch = self._memory[:size].reshape(len(images), channels, height, width)
        for row, image in enumerate(images):
            batch[row] = image
        return batch
