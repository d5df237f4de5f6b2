"""Rules for relative positions: bias tables of windows, biases by offset, embeddings per axis."""

from __future__ import annotations

import re
from functools import partial

from zoo.core.resize.positions import (
    ANTIALIASED,
    bias_rows,
    resize_bias_table,
    resize_offset_biases,
    resize_relative_axis,
)
from zoo.core.resize.rule import (
    Resize,
    Shape,
    Size,
    Tensor,
    divide,
    halved,
    nonempty,
    patch_grids,
    square,
    strided_grid,
    text,
)
from zoo.core.resize.source_grid import MAX_SUGGESTIONS, grids_of_area, not_told, size_of_grid

# ---------------------------------------------------------------- bias tables of windows


def _resized_table(tensor: Tensor, old: Size, new: Size) -> Resize | None:
    """A bias table, (rows, heads) or (heads, 2h - 1, 2w - 1), resized from one window to another."""
    if old == new:
        return None
    if len(tensor.shape) == 3:
        shape: Shape = (tensor.shape[0], 2 * new[0] - 1, 2 * new[1] - 1)
    else:
        shape = (tensor.shape[0] - bias_rows(old) + bias_rows(new), tensor.shape[1])
    return tensor.to(shape, "linear, positions spaced geometrically", partial(resize_bias_table, old=old, new=new))


def _square_window(rows: int) -> Size | None:
    """The square window whose table has this number of rows."""
    side = square(rows)
    return ((side[0] + 1) // 2, (side[1] + 1) // 2) if side and side[0] % 2 else None


CLASS_TOKEN_ROWS = 3
"""Class token to patch, patch to class token, class token to itself."""


def _windows(rows: int) -> list[Size]:
    """Every window whose table has this number of rows and is not higher than wide, the most square one first."""
    odd = [grid for grid in grids_of_area(rows) if grid[0] % 2 and grid[1] % 2]
    return [((height + 1) // 2, (width + 1) // 2) for height, width in reversed(odd)]


def global_table(tensor: Tensor) -> Resize | None:
    """BEiT and relative-position ViTs: the window is the whole grid; the class token may have additional rows."""
    window, new = _global_window(tensor), patch_grids(tensor)[1]
    return _resized_table(tensor, window, new)


def size_of_global_table(tensor: Tensor) -> Size:
    """The image size that the bias table of a whole grid is for."""
    return size_of_grid(tensor, _global_window(tensor), tensor.job.old_patch)


def _global_window(tensor: Tensor) -> Size:
    """The grid that a table is for, with or without the rows of a class token."""
    rows = tensor.axes(2)[0]
    old, new = patch_grids(tensor)
    job = tensor.job
    same = [] if job.stated or job.old_patch != job.new_patch else [new]
    for extra in (CLASS_TOKEN_ROWS, 0):
        squares = [] if job.stated else [_square_window(rows - extra)]
        for window in (old, *squares, *same):
            if window and bias_rows(window) == rows - extra:
                return window
    possible = [(window, 0) for extra in (CLASS_TOKEN_ROWS, 0) for window in _windows(rows - extra)]
    raise not_told(tensor, f"{rows} relative positions", possible, job.old_patch, 0)


def window_table(tensor: Tensor, windows_by_stage: str) -> Resize | None:
    """Swin: windows keep their size and are cut to a stage's map if that is smaller, unless they are given.

    `windows_by_stage` is a name prefix of architectures whose stages have windows of different sizes by design.
    """
    rows = tensor.axes(2)[0]
    stage = _stage(tensor.name)
    old_grid, new_grid = patch_grids(tensor)
    old_map, new_map = halved(old_grid, stage), halved(new_grid, stage)
    given = tensor.job.windows[stage] if stage < len(tensor.job.windows) else None
    side = _window_side(rows, old_map)
    if side is None:
        return _oblong_table(tensor, old_map, new_map, given)
    if given:
        return _resized_table(tensor, _cut(side, old_map), given)
    wanted = side
    # A window that fills its map may have been cut; the other stages show the full window.
    if side >= max(old_map) and not tensor.job.architecture.startswith(windows_by_stage):
        wanted = max(side, _window_side_elsewhere(tensor, old_grid))
    return _resized_table(tensor, _cut(side, old_map), _cut(wanted, new_map))


def _oblong_table(tensor: Tensor, old_map: Size, new_map: Size, given: Size | None) -> Resize | None:
    """A table that no square window on the source's map has.

    If the source's size is not stated, the table may be that of a square window on a different map. Otherwise the
    window is oblong, and only the model to load decides which way.
    """
    rows = tensor.shape[0]
    if given and bias_rows(given) == rows:
        return None
    upright = _windows(rows)
    windows = list(dict.fromkeys([*upright, *((width, height) for height, width in upright)]))
    if tensor.job.stated:
        windows = [window for window in windows if _fits(window, old_map)]
    if windows and not given and all(_fits(window, new_map) for window in windows):
        return None  # every possible window stays as it is
    told = ", ".join(map(text, windows[:MAX_SUGGESTIONS]))
    reason = f"no square window on a map of {text(old_map)} has a table of this shape"
    error = tensor.refused(f"{reason}; oblong ones are {told}" if windows else reason)
    if not tensor.job.stated:
        error.hint = "Say the size of the images that it was made for, in pixels: --source-size H,W."
    raise error


def _fits(window: Size, limit: Size) -> bool:
    return window[0] <= limit[0] and window[1] <= limit[1]


MAX_WINDOW = 128


def _stage(name: str) -> int:
    return int(name.split(".")[1])


def _cut(side: int, limit: Size) -> Size:
    return min(side, limit[0]), min(side, limit[1])


def _window_side(rows: int, limit: Size) -> int | None:
    """Side of the smallest square window that, cut to the map, has a table with this number of rows."""
    return next((side for side in range(1, MAX_WINDOW) if bias_rows(_cut(side, limit)) == rows), None)


def _window_side_elsewhere(tensor: Tensor, grid: Size) -> int:
    """The largest window among the stages that it does not fill; 0 if there is none."""
    found = [0]
    for name, shape in tensor.job.shapes.items():
        if re.fullmatch(r"layers\.\d\.blocks\.0\.attn\.relative_position_bias_table", name) and len(shape) == 2:
            limit = halved(grid, _stage(name))
            side = _window_side(shape[0], limit)
            found += [side] if side and side < max(limit) else []
    return max(found)


def partition_table(tensor: Tensor) -> Resize | None:
    """MaxViT: windows and grids are 1/32 of the image."""
    old, new = divide(tensor.job.source, 32), nonempty(tensor, divide(tensor.job.target, 32))
    if (new[0] * 32, new[1] * 32) != tensor.job.target:
        raise tensor.refused("the image size must be a multiple of 32")
    return _resized_table(tensor, _table_window(tensor, old), new)


def stage_table(tensor: Tensor) -> Resize | None:
    """CoAtNet: the window is the whole map of a stage, which is 1/4 of the image in the first."""
    halvings = _stage(tensor.name) + 1
    old, new = (halved(divide(size, 2), halvings) for size in (tensor.job.source, tensor.job.target))
    return _resized_table(tensor, _table_window(tensor, old), nonempty(tensor, new))


def _table_window(tensor: Tensor, expected: Size) -> Size:
    """The window of a table in either layout: the expected one if it fits, otherwise the one that the table shows."""
    if len(tensor.shape) == 3:
        return (tensor.shape[1] + 1) // 2, (tensor.shape[2] + 1) // 2
    rows = tensor.axes(2)[0]
    window = expected if rows == bias_rows(expected) else _square_window(rows)
    if window is None or (tensor.job.stated and window != expected):
        windows = [(one, 0) for one in _windows(rows)]
        raise not_told(tensor, f"{rows} relative positions", windows, None, 0)
    return window


# ---------------------------------------------------------------- other layouts


def windowed_offsets(tensor: Tensor, window: int, stride: int) -> Resize | None:
    """EfficientViT (MSRA): (heads, N) for square windows, cut to a stage's map; the first map is image / stride."""
    heads, offsets = tensor.axes(2)
    old = square(offsets)
    if old is None:
        raise tensor.refused("it does not belong to a square window")
    # The shorter side of the image sets the window.
    shorter = min(tensor.job.target) // stride
    new = nonempty(tensor, _cut(window, halved((shorter, shorter), _stage(tensor.name))))
    if old == new:
        return None
    return tensor.to((heads, new[0] * new[1]), ANTIALIASED, partial(resize_offset_biases, old=old, new=new))


def relative_axis(tensor: Tensor) -> Resize | None:
    """MViTv2: (2n - 1, D) for one axis of n cells."""
    if tensor.job.target[0] != tensor.job.target[1]:
        raise tensor.refused("only square images are supported")
    cells = (tensor.axes(2)[0] + 1) // 2
    return _resized_axis(tensor, strided_grid(tensor, (cells, cells))[0])


def quarterly_axis(tensor: Tensor) -> Resize | None:
    """SAM: (2n - 1, D) for one axis; n is the grid's in the last block of each quarter and a window's in the others.

    timm resizes these in its forward pass.
    """
    numbers = [re.match(r"blocks\.(\d{1,4})\.", name) for name in tensor.job.shapes]
    depth = 1 + max(int(number[1]) for number in numbers if number)
    if depth < 4 or (_stage(tensor.name) + 1) % (depth // 4):
        return None
    return _resized_axis(tensor, patch_grids(tensor)[1][tensor.name.endswith("rel_pos_w")])


def _resized_axis(tensor: Tensor, cells: int) -> Resize | None:
    old, width = tensor.axes(2)
    new = 2 * cells - 1
    return None if new == old else tensor.to((new, width), "linear", partial(resize_relative_axis, new=new))
