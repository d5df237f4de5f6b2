"""Resize what a vision transformer learned for one image or patch size: embeddings, bias tables, patch kernels.

The functions take numpy arrays. Grids, windows and patches are (height, width), in patches, positions or pixels.
Results have the dtype of the input, are computed in float64 and agree with timm's loader to float32 accuracy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zoo.core.resize.resample import Filter, apply_along, geometric_matrix, patch_resize_matrix, resize_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.core.resize.resample import Matrix

    Array = NDArray[Any]

Size = tuple[int, int]

ANTIALIASED: Filter = "bicubic, antialiased"


def resize_tokens(embedding: Array, old: Size, new: Size, filter_: Filter = ANTIALIASED) -> Array:
    """Absolute position embedding as tokens, (1, prefix + old area, D) -> (1, prefix + new area, D).

    The prefix (class, distillation and register tokens) is what exceeds the grid, and is kept. Vision Transformers are
    fine-tuned at a different resolution in this way (arXiv 2010.11929, section 3.2).
    """
    import numpy as np

    batch, tokens, width = embedding.shape
    prefix = tokens - math.prod(old)
    grid = embedding[:, prefix:].reshape(batch, *old, width)
    resized = resize_grid(grid, new, (1, 2), filter_).reshape(batch, math.prod(new), width)
    return np.concatenate([embedding[:, :prefix], resized], axis=1)


def resize_grid(embedding: Array, new: Size, axes: Size, filter_: Filter = ANTIALIASED) -> Array:
    """Absolute position embedding as a map, (1, H, W, D) with axes (1, 2) or (1, D, H, W) with axes (2, 3)."""
    old = [embedding.shape[axis] for axis in axes]
    return apply_along(embedding, {axis: resize_matrix(old[i], new[i], filter_) for i, axis in enumerate(axes)})


def resize_blocks(embedding: Array, new_tokens: int) -> Array:
    """Position embedding of a map cut into blocks, (1, T, N, D) -> (1, T, new_tokens, D); T and N are squares.

    The blocks of NesT (arXiv 2105.12723) are joined, resized bicubically and cut into the same number of blocks.
    """
    batch, blocks, tokens, width = embedding.shape
    edge, old, new = math.isqrt(blocks), math.isqrt(tokens), math.isqrt(new_tokens)
    whole = embedding.reshape(batch, edge, edge, old, old, width).swapaxes(2, 3)
    whole = whole.reshape(batch, edge * old, edge * old, width)
    matrix = resize_matrix(edge * old, edge * new, "bicubic")
    whole = apply_along(whole, {1: matrix, 2: matrix})
    return whole.reshape(batch, edge, new, edge, new, width).swapaxes(2, 3).reshape(batch, blocks, new_tokens, width)


def resize_bias_table(table: Array, old: Size, new: Size) -> Array:
    """Resize the relative-position bias table of a window from the window `old` to the window `new`.

    The table is (R + extra, heads) with R = (2h - 1)(2w - 1) rows, or (heads, 2h - 1, 2w - 1). Extra rows (those of
    BEiT's class token) are kept. Positions are spaced geometrically, see `geometric_matrix`.
    """
    import numpy as np

    def matrices(axes: Size) -> dict[int, Matrix]:
        return {axis: geometric_matrix(2 * old[i] - 1, 2 * new[i] - 1) for i, axis in enumerate(axes)}

    if table.ndim == 3:
        return apply_along(table, matrices((1, 2)))
    rows, heads = bias_rows(old), table.shape[1]
    grid = table[:rows].reshape(2 * old[0] - 1, 2 * old[1] - 1, heads)
    return np.concatenate([apply_along(grid, matrices((0, 1))).reshape(-1, heads), table[rows:]])


def bias_rows(window: Size) -> int:
    """Number of relative positions between the cells of a window."""
    return (2 * window[0] - 1) * (2 * window[1] - 1)


def resize_offset_biases(biases: Array, old: Size, new: Size) -> Array:
    """Attention biases by absolute offset, (heads, h * w): bicubic, antialiased, as TinyViT does (arXiv 2207.10666)."""
    grid = resize_grid(biases.reshape(-1, *old), new, axes=(1, 2))
    return grid.reshape(biases.shape[0], math.prod(new))


def resize_relative_axis(embedding: Array, new: int) -> Array:
    """Relative position embedding of one axis, (2n - 1, D) -> (new, D): linear, as MViTv2 does (arXiv 2112.01526)."""
    return apply_along(embedding, {0: resize_matrix(embedding.shape[0], new, "linear")})


def resize_patch_kernel(kernel: Array, new: Size, filter_: Filter = ANTIALIASED) -> Array:
    """Patch embedding as a convolution, (O, C, p, q) -> (O, C, *new), by pseudo-inverse: see `patch_resize_matrix`."""
    return apply_along(
        kernel, {axis: patch_resize_matrix(kernel.shape[axis], new[axis - 2], filter_) for axis in (2, 3)}
    )


def resize_patch_linear(weight: Array, old: Size, new: Size) -> Array:
    """Patch embedding as a linear layer on patches with channels last, (O, p * q * C) -> (O, new area * C)."""
    patches = weight.reshape(weight.shape[0], *old, -1)
    resized = apply_along(patches, {1: patch_resize_matrix(old[0], new[0]), 2: patch_resize_matrix(old[1], new[1])})
    return resized.reshape(weight.shape[0], -1)
