"""The grid of a table of positions: the stated image size's if there is one, otherwise a square.

The number of positions alone does not decide it: 392 are 14 x 28 as well as 8 x 49. Without a statement, the
architecture's published size is tried first, then a square, then the requested size.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping

from zoo.core.architectures import registry
from zoo.core.errors import InvalidInputError
from zoo.core.resize.rule import Shape, Size, Tensor, divide, square, text

MAX_RATIO = 8
"""The largest ratio of the sides of a grid that is worth suggesting."""

MAX_SUGGESTIONS = 6

MAX_SIDE = 1 << 14


def num_prefix_tokens(shapes: Mapping[str, Shape]) -> int:
    """The number of class, distillation and register tokens, whose positions an embedding may also hold."""
    found = (shapes.get(name, ()) for name in ("cls_token", "dist_token", "reg_token"))
    return sum(shape[1] for shape in found if len(shape) == 3)


def token_grid(tensor: Tensor, count: int, cell: Size | None) -> Size:
    """The grid of an embedding with `count` positions, with or without those of prefix tokens.

    Args:
        tensor: the embedding.
        count: its number of positions.
        cell: pixels per cell, (height, width); None if only the source's size gives them, and cells are square.

    Raises InvalidInputError if the stated size has a different number of positions, or if no size is stated and they do
    not form a square. The message lists the possible grids.
    """
    job, prefix = tensor.job, num_prefix_tokens(tensor.job.shapes)
    grid = _grid_of_size(job.source, cell, count, range(prefix + 1))
    if grid and (job.stated or not prefix or count - math.prod(grid) in _positions_of_prefix(tensor, prefix)):
        return grid
    areas = range(count - prefix, count + 1)
    if not job.stated:
        # 196 is 14 x 14, but also 13 x 15 and a class token.
        others = _positions_of_prefix(tensor, prefix)
        squares = (square(count - number) for number in sorted(others, reverse=True))
        same = _grid_of_size(job.target, cell if job.new_patch == job.old_patch else None, count, others)
        if found := next(filter(None, squares), None) or same:
            return found
    possible = [(grid, count - area) for area in areas for grid in grids_of_area(area)]
    raise not_told(tensor, f"{count} positions", possible, cell, prefix)


def _positions_of_prefix(tensor: Tensor, prefix: int) -> Collection[int]:
    """Return the possible numbers of prefix tokens with positions: all or none as in the architecture, else any."""
    embeds = tensor.job.embeds_prefix
    if embeds is None and tensor.job.architecture and prefix:
        embeds = registry.embeds_prefix(tensor.job.architecture)
    return range(prefix + 1) if embeds is None else (prefix if embeds else 0,)


def _grid_of_size(size: Size, cell: Size | None, count: int, others: Collection[int]) -> Size | None:
    """The grid of an image size, if its cells and a number in `others` add up to the positions."""
    if cell:
        grid = divide(size, cell)
        return grid if min(grid) > 0 and count - math.prod(grid) in others else None
    for number in sorted(others, reverse=True):
        area = count - number
        # The side of a cell is the square root of pixels / cells.
        side = math.isqrt(math.prod(size) // area) if area > 0 else 0
        if side and (size[0] // side) * (size[1] // side) == area:
            return size[0] // side, size[1] // side
    return None


def grids_of_area(area: int) -> Iterator[Size]:
    """Every grid with this number of cells that is not higher than wide."""
    for height in range(1, min(math.isqrt(max(area, 0)), MAX_SIDE) + 1):
        if area % height == 0:
            yield height, area // height


def not_told(
    tensor: Tensor, found: str, possible: Iterable[tuple[Size, int]], cell: Size | None, prefix: int
) -> InvalidInputError:
    """The error for a table whose grid is unknown or contradicts the stated one.

    Args:
        tensor: the table.
        found: what the table has, e.g. "393 positions".
        possible: possible grids, each with the number of additional prefix tokens.
        cell: pixels of a cell, for the example.
        prefix: number of prefix tokens in the network.
    """
    job = tensor.job
    likely = sorted(set(possible), key=lambda one: (one[0][1] / one[0][0], -one[1]))
    # Suggest a grid of one row only if there is nothing better.
    likely = [one for one in likely if one[0][1] <= MAX_RATIO * one[0][0]] or likely[:1]
    if job.stated:
        grid = f", {text(divide(job.source, cell))} cells," if cell else ""
        reason = f"images of {text(job.source)}{grid} were stated, but it has {found}"
    else:
        reason = f"its {found} do not form a square, and nothing states the image size"
    if likely:
        told = [f"{text(grid)}{f' + {others}' if prefix else ''}" for grid, others in likely[:MAX_SUGGESTIONS]]
        kinds = " cells and class or other prefix tokens" if prefix else " cells"
        reason += f"; possible are {', '.join(told)}{kinds}, and each turned"
    wanted, example = "H,W", ""
    if likely and cell:
        first, _ = likely[0]
        wanted = f"{first[0] * cell[0]},{first[1] * cell[1]}"
        example = f" for {text(first)} cells"
    return InvalidInputError(
        f"The grid of {tensor.name}, of shape {tensor.shape}, is not known: {reason}.",
        hint=f"Say the size of the images that it was made for, height and width in pixels: --source-size {wanted}"
        f"{example} (source_size in the library).",
    )


def require_map(tensor: Tensor, grid: Size, cell: Size) -> None:
    """Raise InvalidInputError if a map, which shows its own grid, contradicts the stated size."""
    if tensor.job.stated and divide(tensor.job.source, cell) != grid:
        raise not_told(tensor, f"{text(grid)} cells", [(grid, 0)], cell, 0)


def size_of_grid(tensor: Tensor, grid: Size, cell: Size | None) -> Size:
    """The image size that gives this grid: the source's if it does, otherwise whole cells."""
    if cell is None or divide(tensor.job.source, cell) == grid:
        return tensor.job.source
    return grid[0] * cell[0], grid[1] * cell[1]
