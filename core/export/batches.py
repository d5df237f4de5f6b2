"""Group a stream of images into batches, and yield their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoo.core.errors import ZooError
from zoo.core.export.image_engine import BatchMemory

R = TypeVar("R")
Image = NDArray[np.float32]
Shape = tuple[int, ...]

WINDOW_BATCHES = 4
"""The number of batches that an image may wait for others of its size."""

WAITING_BYTES = 1 << 30
"""The most memory for images that wait for others of their sizes; with larger images, batches are smaller."""

_PLAIN = BatchMemory()


def compute_in_order(
    images: Iterable[Image | ZooError],
    start: Callable[[Image], Callable[[], Sequence[R]]],
    batch_size: int,
    memory: BatchMemory = _PLAIN,
) -> Iterator[R | ZooError]:
    """Compute in batches of equal shape; yield one result per image, in the order of the images.

    No image waits longer than WINDOW_BATCHES batches or while the waiting images exceed WAITING_BYTES, so memory is
    bounded for all shapes. Which images share a batch depends only on the shapes, the batch size, and how many batches
    may be underway.

    Args:
        images: float32 (C, H, W), or an error, which is passed through.
        start: begins to compute a batch (N, C, H, W); what it returns gives one result per image. The batch is
            overwritten once that was called.
        batch_size: maximum number of images per batch.
        memory: how batches lie in memory, and how many may be underway.
    """
    waiting: dict[Shape, list[tuple[int, Image]]] = {}
    results: dict[int, R | ZooError] = {}
    underway: deque[tuple[Sequence[int], Callable[[], Sequence[R]]]] = deque()
    buffers = [_BatchBuffer(memory) for _ in range(memory.underway + 1)]
    delivered = held = 0

    def run(shape: Shape) -> None:
        nonlocal held
        positions, group = zip(*waiting.pop(shape), strict=True)
        held -= sum(image.nbytes for image in group)
        buffer = buffers.pop(0)  # of the oldest batch, which is done
        buffers.append(buffer)
        underway.append((positions, start(buffer.stack(group))))
        finish(memory.underway)

    def finish(left: int = 0) -> None:
        """Wait until no more than so many batches are underway."""
        while len(underway) > left:
            positions, found = underway.popleft()
            results.update(zip(positions, found(), strict=True))

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
        if position - delivered >= (WINDOW_BATCHES + memory.underway) * batch_size and delivered not in results:
            if waiting and waiting[oldest_group()][0][0] == delivered:
                run(oldest_group())
            finish()
        while delivered in results:
            yield results.pop(delivered)
            delivered += 1
    while waiting:
        run(oldest_group())
    finish()
    yield from (results[position] for position in sorted(results))


class _BatchBuffer:
    """Memory of one batch, reused for another; it grows to the largest batch."""

    def __init__(self, memory: BatchMemory) -> None:
        self._how = memory
        self._memory = np.empty(0, np.float32)

    def stack(self, images: Sequence[Image]) -> Image:
        """The images as one array (N, C, H, W)."""
        channels, height, width = images[0].shape
        size = len(images) * channels * height * width
        if size > self._memory.size:
            self._memory = self._how.allocate(size)
        batch: NDArray[Any]
        if self._how.channels_innermost:
            batch = self._memory[:size].reshape(len(images), height, width, channels).transpose(0, 3, 1, 2)
        else:
            batch = self._memory[:size].reshape(len(images), channels, height, width)
        for row, image in enumerate(images):
            batch[row] = image
        return batch
