"""Cutting a map into windows or grids for attention within them, and shifting the windows.

Liu et al., Swin Transformer (arXiv:2103.14030), section 3.2; grids: Tu et al., MaxViT (arXiv:2204.01697), section 3.2.
Maps are (N, H, W, C); windows and grids are (height, width).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.tracing import leaf_function

Size = tuple[int, int]

MASKED = -100.0
"""Added to the score of a pair of cells that must not see each other, as in the published networks."""


def partition_windows(x: Tensor, window: Size) -> Tensor:
    """(N, H, W, C) -> (N * windows, cells of a window, C); the windows divide the map."""
    x = x.unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))
    return x.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def merge_windows(windows: Tensor, window: Size, size: Size) -> Tensor:
    """The inverse of `partition_windows`, to a map of this (height, width)."""
    rows, columns = size[0] // window[0], size[1] // window[1]
    x = windows.unflatten(1, window).unflatten(0, (-1, rows, columns))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def partition_grid(x: Tensor, grid: Size) -> Tensor:
    """(N, H, W, C) -> (N * places, cells of a grid, C): each grid is spread over the map, which it divides."""
    x = x.unflatten(2, (grid[1], -1)).unflatten(1, (grid[0], -1))
    return x.permute(0, 2, 4, 1, 3, 5).flatten(3, 4).flatten(0, 2)


def merge_grid(cells: Tensor, grid: Size, size: Size) -> Tensor:
    """The inverse of `partition_grid`, to a map of this (height, width)."""
    x = cells.unflatten(1, grid).unflatten(0, (-1, size[0] // grid[0], size[1] // grid[1]))
    return x.permute(0, 3, 1, 4, 2, 5).flatten(3, 4).flatten(1, 2)


def padded_size(size: Size, window: Size) -> Size:
    """The smallest map that holds this one and that the windows divide."""
    return size[0] + -size[0] % window[0], size[1] + -size[1] % window[1]


@leaf_function
def fill_windows(x: Tensor, window: Size) -> Tensor:
    """A map (N, H, W, C) whose last windows are filled up with zeros."""
    size = x.shape[1], x.shape[2]
    padded = padded_size(size, window)
    return x if padded == size else F.pad(x, (0, 0, 0, padded[1] - size[1], 0, padded[0] - size[0]))


def attend_in_windows(x: Tensor, window: Size, attend: Callable[[Tensor], Tensor], shrink: int = 1) -> Tensor:
    """Map (N, H, W, C) -> (N, H / shrink, W / shrink, D): what `attend` makes of each window.

    Zeros fill the last windows, which are cut off again. `attend` takes (N * windows, cells of a window, C) and gives
    (N * windows, cells of a window / shrink^2, D), in the order of rows.
    """
    height, width = x.shape[1], x.shape[2]
    padded = padded_size((height, width), window)
    x = fill_windows(x, window)
    window_out, padded_out = ((rows // shrink, columns // shrink) for rows, columns in (window, padded))
    x = merge_windows(attend(partition_windows(x, window)), window_out, padded_out)
    return x[:, : height // shrink, : width // shrink]


@leaf_function
def shifted_window_mask(size: Size, window: Size, shift: Size, device: torch.device | str = "cpu") -> Tensor:
    """What is added to the scores in each window of a cyclically shifted map: (windows, cells, cells).

    Cells that the shift brought together from opposite borders get MASKED, the others 0. `size` is the map's, which
    the windows divide; an axis that is not shifted has no borders.
    """
    rows, columns = (_regions(*axis, device) for axis in zip(size, window, shift, strict=True))
    regions = rows[:, None] * 3 + columns
    cells = partition_windows(regions[None, :, :, None], window).squeeze(2)
    return torch.where(cells[:, None] == cells[:, :, None], 0.0, MASKED)


def _regions(length: int, window: int, shift: int, device: torch.device | str) -> Tensor:
    """Along one axis: 0 before the last window, in it 1, and 2 for what the shift brought from the other end."""
    regions = torch.zeros(length, dtype=torch.int64, device=device)
    if shift:
        regions[-window:] = 1
        regions[-shift:] = 2
    return regions
