"""Rules for absolute position embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.core.resize.positions import ANTIALIASED, resize_blocks, resize_grid, resize_tokens
from zoo.core.resize.rule import (
    Resize,
    Size,
    Tensor,
    divide,
    nonempty,
    patch_grids,
    square,
    strided_grid,
    text,
)
from zoo.core.resize.source_grid import grids_of_area, not_told, require_map, size_of_grid, token_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray


def tokens(tensor: Tensor, as_reference: bool = True, stride: int | None = None) -> Resize | None:
    """(1, prefix + H * W, D): prefix tokens are kept. `stride` is the side of a cell if no kernel defines it."""
    count = tensor.axes(3)[1]
    old = token_grid(tensor, count, tensor.job.old_patch or (stride and (stride, stride)) or None)
    new = patch_grids(tensor)[1] if tensor.job.old_patch else strided_grid(tensor, old, stride)
    return _resized_tokens(tensor, old, new, as_reference)


def size_of_tokens(tensor: Tensor, stride: int | None = None) -> Size:
    """The image size that an embedding (1, prefix + H * W, D) is for."""
    cell = tensor.job.old_patch or (stride and (stride, stride)) or None
    return size_of_grid(tensor, token_grid(tensor, tensor.axes(3)[1], cell), cell)


def tokens_if_sized(tensor: Tensor, stride: int) -> Resize | None:
    """Hiera: (1, H * W, D), or a map (1, D, H, W) of any size, which the model itself resizes."""
    return tokens(tensor, as_reference=False, stride=stride) if len(tensor.shape) == 3 else None


def _resized_tokens(tensor: Tensor, old: Size, new: Size, as_reference: bool) -> Resize | None:
    # The shapes alone do not decide it: 14 x 14 and 28 x 7 have the same number of tokens.
    if old == new:
        return None
    batch, count, width = tensor.shape
    shape = (batch, count - math.prod(old) + math.prod(new), width)
    function = partial(resize_tokens, old=old, new=new, filter_=tensor.job.filter_)
    return tensor.to(shape, tensor.job.filter_, function, as_reference)


def pool_tokens(tensor: Tensor, stride: int) -> Resize | None:
    """CLIP's attention pool: (1 + H * W, D) over the last map. timm resizes it in its forward pass."""
    count, width = tensor.axes(2)
    old = token_grid(tensor, count - 1, (stride, stride))
    new = strided_grid(tensor, old, stride)
    if old == new:
        return None
    return tensor.to((1 + math.prod(new), width), ANTIALIASED, partial(_resize_pool_tokens, old=old, new=new))


def _resize_pool_tokens(embedding: NDArray[Any], old: Size, new: Size) -> NDArray[Any]:
    resized: NDArray[Any] = resize_tokens(embedding[None], old, new)[0]
    return resized


def channels_last_map(tensor: Tensor, as_reference: bool = False, stride: int = 16) -> Resize | None:
    """(1, H, W, D)"""
    batch, height, width, channels = tensor.axes(4)
    require_map(tensor, (height, width), tensor.job.old_patch or (stride, stride))
    new = patch_grids(tensor)[1] if tensor.job.old_patch else strided_grid(tensor, (height, width), stride)
    if new == (height, width):
        return None
    return tensor.to((batch, *new, channels), ANTIALIASED, partial(resize_grid, new=new, axes=(1, 2)), as_reference)


def size_of_map(tensor: Tensor, stride: int = 16) -> Size:
    """The image size that a map (1, H, W, D) is for."""
    _, height, width, _ = tensor.axes(4)
    cell = tensor.job.old_patch or (stride, stride)
    require_map(tensor, (height, width), cell)
    return size_of_grid(tensor, (height, width), cell)


def channels_first_map(tensor: Tensor) -> Resize | None:
    """Visformer: (1, D, H, W) before each stage, at 1/8, 1/16 and 1/32 of the image."""
    _, _, height, width = tensor.axes(4)
    stride = 4 << int(tensor.name[-1])
    require_map(tensor, (height, width), (stride, stride))
    return _resized_map(tensor, strided_grid(tensor, (height, width), stride))


def overlapping_map(tensor: Tensor) -> Resize | None:
    """PiT: (1, D, H, W); patches overlap by half."""
    kernel = tensor.job.shapes.get("patch_embed.conv.weight", ())
    if len(kernel) != 4 or kernel[2] < 2:
        raise tensor.refused("the file has no patch embedding that shows the grid")
    patch, stride = kernel[2], kernel[2] // 2

    def grid(size: Size) -> Size:
        return (size[0] - patch) // stride + 1, (size[1] - patch) // stride + 1

    found = tensor.axes(4)[2:]
    if tensor.job.stated and grid(tensor.job.source) != found:
        raise tensor.refused(f"{text(tensor.job.source)} is not the size that it was made for")
    return _resized_map(tensor, nonempty(tensor, grid(tensor.job.target)))


def _resized_map(tensor: Tensor, new: Size) -> Resize | None:
    batch, channels, height, width = tensor.axes(4)
    if new == (height, width):
        return None
    function = partial(resize_grid, new=new, axes=(2, 3))
    return tensor.to((batch, channels, *new), ANTIALIASED, function, as_reference=False)


def scaled_tokens(tensor: Tensor, patch: int, scales: Sequence[tuple[str, float]]) -> Resize | None:
    """CrossViT: (1, 1 + H * W, D) of a branch that sees the image at its own scale.

    `scales` are the possible fractions of the image's sides, each with the part of an architecture's name that selects
    it. The name decides, since two scales give the same grid at some sizes.
    """
    count = tensor.axes(3)[1] - 1
    scale = next(scale for part, scale in scales if part in tensor.job.architecture)

    def scaled(size: Size) -> Size:
        return int(size[0] * scale), int(size[1] * scale)

    old = divide(scaled(tensor.job.source), patch)
    if math.prod(old) != count:
        grid = None if tensor.job.stated else square(count)
        if grid is None:
            cell = (patch, patch) if scale == 1 else None
            raise not_told(tensor, f"{count} positions", [(one, 0) for one in grids_of_area(count)], cell, 0)
        old = grid
    branch = scaled(tensor.job.target)
    if branch[0] % patch or branch[1] % patch:
        raise tensor.refused(f"the branch's image of {text(branch)} must be a multiple of {patch}")
    return _resized_tokens(tensor, old, nonempty(tensor, divide(branch, patch)), as_reference=False)


def blocks(tensor: Tensor) -> Resize | None:
    """NesT: (1, T, N, D), T blocks of N positions each."""
    batch, count, positions, width = tensor.axes(4)
    across, old = square(count), square(positions)
    if across is None or old is None or tensor.job.target[0] != tensor.job.target[1]:
        raise tensor.refused("only square images are supported")
    edge = across[0]
    new = strided_grid(tensor, (edge * old[0], edge * old[0]))
    if new[0] % edge:
        raise tensor.refused(f"its map of {text(new)} does not divide into {edge} x {edge} blocks")
    new_positions = (new[0] // edge) ** 2
    if new_positions == positions:
        return None
    function = partial(resize_blocks, new_tokens=new_positions)
    return tensor.to((batch, count, new_positions, width), "bicubic", function, as_reference=False)
