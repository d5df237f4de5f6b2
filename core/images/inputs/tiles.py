"""Divide large rasters into windows. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from zoo.core.errors import InvalidInputError, NotFoundError, UsageError
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.inputs.input_list import InputList


def tile_windows(height: int, width: int, tile: int, stride: int) -> Iterator[Window]:
    """Windows of `tile` x `tile` pixels, `stride` apart, that cover a raster; by rows, then by columns.

    The last row and column are moved inwards, so every window is full. If a raster is smaller than the tile in one or
    both directions, windows have its own extent there: the reader resizes or refuses them.

    Raises:
        UsageError: the tile or the stride is not positive, or the stride exceeds the tile and would leave gaps.
        InvalidInputError: the raster has no pixels.
    """
    _check(tile, stride)
    return _windows(height, width, tile, stride)


def expand_tiles(
    inputs: Iterable[ImageInput], sizes: Callable[[ImageInput], tuple[int, int]], tile: int, stride: int
) -> InputList:
    """Every input as its windows (see `tile_windows`), with ids `id#top,left`, in the order of the inputs.

    Args:
        inputs: whole rasters.
        sizes: returns the (height, width) of an input in pixels, or raises InvalidInputError or NotFoundError: then the
            input stays whole, and reading it reports what is wrong.
        tile: side of a window in pixels.
        stride: distance between windows in pixels.

    Raises:
        UsageError: as `tile_windows`.
    """
    _check(tile, stride)

    def expand() -> Iterator[ImageInput]:
        for item in inputs:
            try:
                height, width = sizes(item)
                for window in tile_windows(height, width, tile, stride):
                    yield item._replace(id=f"{item.id}#{window.top},{window.left}", window=window)
            except (InvalidInputError, NotFoundError):
                yield item

    return InputList.in_order(expand(), getattr(inputs, "root", ""))


def _check(tile: int, stride: int) -> None:
    if tile < 1:
        raise UsageError(f"A tile must be 1 pixel or larger, not {tile}.", hint="Pass --tile 224, for example.")
    if not 1 <= stride <= tile:
        raise UsageError(
            f"A stride of {stride} does not cover a raster with tiles of {tile} pixels.",
            hint=f"Pass a --stride from 1 to {tile}.",
        )


def _windows(height: int, width: int, tile: int, stride: int) -> Iterator[Window]:
    if height < 1 or width < 1:
        raise InvalidInputError(f"A raster of {height} x {width} pixels is empty.")
    for top in _starts(height, tile, stride):
        for left in _starts(width, tile, stride):
            yield Window(left, top, min(tile, width), min(tile, height))


def _starts(length: int, tile: int, stride: int) -> Iterator[int]:
    last = max(0, length - tile)
    yield from range(0, last, stride)
    yield last
