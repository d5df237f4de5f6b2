"""Learned position embeddings for a grid of another size than they were made for."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.tracing import leaf_function


@leaf_function
def resample_positions(
    positions: Tensor,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    num_prefix_tokens: int = 0,
    mode: str = "bicubic",
    antialias: bool = True,
) -> Tensor:
    """Fit embeddings (1, prefix + rows * columns, D) to another grid, by default by antialiased bicubic interpolation.

    Those of prefix tokens (class, registers) come first and stay. `core.resize.positions` does the same to the arrays
    of a checkpoint; this is for images of another size at run time (arXiv:2010.11929, section 3.2).
    """
    if tuple(old_grid) == tuple(new_grid):
        return positions
    prefix, grid = positions[:, :num_prefix_tokens], positions[:, num_prefix_tokens:]
    image = grid.unflatten(1, tuple(old_grid)).permute(0, 3, 1, 2)
    # In float32 whatever the model is in, as the reference does: half precision loses too much here.
    resized = F.interpolate(image.float(), size=tuple(new_grid), mode=mode, antialias=antialias)
    return torch.cat([prefix, resized.to(grid.dtype).flatten(2).transpose(1, 2)], 1)


def resample_abs_pos_embed(
    posemb: Tensor,
    new_size: Sequence[int],
    old_size: Sequence[int] | None = None,
    num_prefix_tokens: int = 1,
    interpolation: str = "bicubic",
    antialias: bool = True,
) -> Tensor:
    """As `resample_positions`, by the arguments of the published API.

    Args:
        posemb: (1, prefix + rows * columns, D).
        new_size, old_size: rows and columns; the old grid is square unless it is given.
        interpolation, antialias: as in `torch.nn.functional.interpolate`.
    """
    if old_size is None:
        side = isqrt(posemb.shape[1] - num_prefix_tokens)
        old_size = (side, side)
    old, new = (old_size[0], old_size[1]), (new_size[0], new_size[1])
    return resample_positions(posemb, old, new, num_prefix_tokens, interpolation, antialias)
