"""Attention in windows: cutting a map into them, shifting them, and the relative positions of their cells.

Liu et al., Swin Transformer (arXiv:2103.14030), section 3.2. Maps are (N, H, W, C); windows are (height, width).
"""

from __future__ import annotations

import torch
from torch import Tensor

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


def padded_size(size: Size, window: Size) -> Size:
    """The smallest map that holds this one and that the windows divide."""
    return size[0] + -size[0] % window[0], size[1] + -size[1] % window[1]


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


def relative_position_index(window: Size) -> Tensor:
    """Row of a bias table for each pair of cells of a window: (cells, cells).

    The table has (2h - 1)(2w - 1) rows, in the order of the vertical, then the horizontal offset.
    """
    # Constants: on the CPU also where the model is on meta.
    rows, columns = (torch.arange(side, device="cpu") for side in window)
    vertical = rows[:, None] - rows + window[0] - 1
    horizontal = columns[:, None] - columns + window[1] - 1
    index = vertical[:, None, :, None] * (2 * window[1] - 1) + horizontal[None, :, None, :]
    return index.flatten(2).flatten(0, 1)
