"""Rules for absolute position embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.core.resize_positions import ANTIALIASED, resize_blocks, resize_grid, resize_tokens
from zoo.core.resize_tensor import (
    Resize,
    Shape,
    Size,
    Tensor,
    divide,
    nonempty,
    patch_grids,
    square,
    strided_grid,
    text,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _num_prefix_tokens(shapes: Mapping[str, Shape]) -> int:
    found = (shapes.get(name, ()) for name in ("cls_token", "dist_token", "reg_token"))
    return sum(shape[1] for shape in found if len(shape) == 3)


def _token_grid(tensor: Tensor) -> Size:
    """Grid of an embedding (1, prefix + area, D): the one of the source's size, else a square, as timm assumes."""
    count, prefix = tensor.shape[1], _num_prefix_tokens(tensor.job.shapes)
    if tensor.job.old_patch:
        grid = divide(tensor.job.source, tensor.job.old_patch)
        if min(grid) > 0 and 0 <= count - math.prod(grid) <= prefix:
            return grid
    else:
        height, width = tensor.job.source
        for area in (count - prefix, count):
            # Cells are square: the side of one is the root of pixels / cells.
            stride = math.isqrt(height * width // area) if area > 0 else 0
            if stride and (height // stride) * (width // stride) == area:
                return height // stride, width // stride
    found = square(count - prefix) or square(count)
    if found is None:
        raise tensor.refused("it does not fit the source's size")
    return found


def tokens(tensor: Tensor, as_reference: bool = True) -> Resize | None:
    """(1, prefix + H * W, D): prefix tokens are kept."""
    tensor.axes(3)
    old = _token_grid(tensor)
    new = patch_grids(tensor)[1] if tensor.job.old_patch else strided_grid(tensor, old)
    return _resized_tokens(tensor, old, new, as_reference)


def tokens_if_sized(tensor: Tensor) -> Resize | None:
    """Hiera: (1, H * W, D), or a map (1, D, H, W) of any size that the model itself resizes."""
    return tokens(tensor, as_reference=False) if len(tensor.shape) == 3 else None


def _resized_tokens(tensor: Tensor, old: Size, new: Size, as_reference: bool) -> Resize | None:
    # The shapes alone do not tell: 14 x 14 and 28 x 7 have as many tokens.
    if old == new:
        return None
    batch, count, width = tensor.shape
    shape = (batch, count - math.prod(old) + math.prod(new), width)
    function = partial(resize_tokens, old=old, new=new, filter_=tensor.job.filter_)
    return tensor.to(shape, tensor.job.filter_, function, as_reference)


def pool_tokens(tensor: Tensor) -> Resize | None:
    """CLIP's attention pool: (1 + H * W, D) over the last map. timm resizes it in its forward pass."""
    count, width = tensor.axes(2)
    old = _token_grid(Tensor(name=tensor.name, shape=(1, count - 1, width), job=tensor.job))
    new = strided_grid(tensor, old)
    if old == new:
        return None
    return tensor.to((1 + math.prod(new), width), ANTIALIASED, partial(_resize_pool_tokens, old=old, new=new))


def _resize_pool_tokens(embedding: NDArray[Any], old: Size, new: Size) -> NDArray[Any]:
    resized: NDArray[Any] = resize_tokens(embedding[None], old, new)[0]
    return resized


def channels_last_map(tensor: Tensor, as_reference: bool = False) -> Resize | None:
    """(1, H, W, D)"""
    batch, height, width, channels = tensor.axes(4)
    new = patch_grids(tensor)[1] if tensor.job.old_patch else strided_grid(tensor, (height, width))
    if new == (height, width):
        return None
    return tensor.to((batch, *new, channels), ANTIALIASED, partial(resize_grid, new=new, axes=(1, 2)), as_reference)


def channels_first_map(tensor: Tensor) -> Resize | None:
    """(1, D, H, W)"""
    _, _, height, width = tensor.axes(4)
    return _resized_map(tensor, strided_grid(tensor, (height, width)))


def overlapping_map(tensor: Tensor) -> Resize | None:
    """PiT: (1, D, H, W), patches overlap by half."""
    kernel = tensor.job.shapes.get("patch_embed.conv.weight", ())
    if len(kernel) != 4 or kernel[2] < 2:
        raise tensor.refused("the file has no patch embedding to tell the grid")
    patch, stride = kernel[2], kernel[2] // 2
    height, width = tensor.job.target
    return _resized_map(tensor, nonempty(tensor, ((height - patch) // stride + 1, (width - patch) // stride + 1)))


def _resized_map(tensor: Tensor, new: Size) -> Resize | None:
    batch, channels, height, width = tensor.axes(4)
    if new == (height, width):
        return None
    function = partial(resize_grid, new=new, axes=(2, 3))
    return tensor.to((batch, channels, *new), ANTIALIASED, function, as_reference=False)


CROSSVIT_PATCHES = {"pos_embed_0": 12, "pos_embed_1": 16}


def two_scale_tokens(tensor: Tensor) -> Resize | None:
    """CrossViT: (1, 1 + H * W, D) of a branch that sees the image at its own scale."""
    patch, edge = CROSSVIT_PATCHES[tensor.name], tensor.job.source[0]
    old = square(tensor.axes(3)[1] - 1)
    if old is None or tensor.job.source != (edge, edge):
        raise tensor.refused("the source must be square")
    # A branch's image is a fixed fraction of the input: 224/240 or 384/408 for the coarse one.
    scaled = [int(side * (old[0] * patch / edge)) for side in tensor.job.target]
    if any(side % patch for side in scaled):
        raise tensor.refused(f"the branch's image of {scaled[0]} x {scaled[1]} must be a multiple of {patch}")
    new = nonempty(tensor, (scaled[0] // patch, scaled[1] // patch))
    return _resized_tokens(tensor, old, new, as_reference=False)


def blocks(tensor: Tensor) -> Resize | None:
    """NesT: (1, T, N, D), T blocks of N positions."""
    batch, count, positions, width = tensor.axes(4)
    across, old = square(count), square(positions)
    if across is None or old is None or tensor.job.target[0] != tensor.job.target[1]:
        raise tensor.refused("only square images are known")
    edge = across[0]
    new = strided_grid(tensor, (edge * old[0], edge * old[0]))
    if new[0] % edge:
        raise tensor.refused(f"its map of {text(new)} does not divide into {edge} x {edge} blocks")
    new_positions = (new[0] // edge) ** 2
    if new_positions == positions:
        return None
    function = partial(resize_blocks, new_tokens=new_positions)
    return tensor.to((batch, count, new_positions, width), "bicubic", function, as_reference=False)
