"""Rotary positions of patches: by how far the channels of queries and keys are rotated, from where a patch lies.

Su et al., RoFormer (arXiv:2104.09864); for two axes, Fang et al., EVA-02 (arXiv:2303.11331), section 2.1; with learned
frequencies, Heo et al., Rotary Position Embedding for Vision Transformer (arXiv:2403.13298); with coordinates that do
not depend on the number of patches, Siméoni et al., DINOv3 (arXiv:2508.10104), section 3.2.

A table (2, ..., prefix + rows * columns, D) holds the cosines and sines that `attention.rotate` takes. Prefix tokens
come first and are rotated by nothing. Angles are computed in float32, or float64 in a model of that type.
"""

from __future__ import annotations

from math import log, pi, tau
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.layers.tracing import leaf_function

Size = tuple[int, int]


def rotary_table(angles: Tensor, num_prefix_tokens: int = 0, half: bool = False) -> Tensor:
    """Angles (..., L, D / 2) of the points -> (2, ..., prefix + L, D), each angle for both channels of its point."""
    factors = torch.stack([angles.cos(), angles.sin()])
    factors = torch.cat([factors, factors], -1) if half else factors.repeat_interleave(2, -1)
    if not num_prefix_tokens:
        return factors
    before = (0, 0, num_prefix_tokens, 0)
    return torch.stack([F.pad(factors[0], before, value=1.0), F.pad(factors[1], before)])


def grid_cells(rows: Tensor, columns: Tensor, columns_first: bool = False) -> Tensor:
    """Coordinates of rows and of columns -> (rows * columns, 2), those of each cell, in the order of rows."""
    cells = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)
    return cells.flip(-1) if columns_first else cells


def wavelengths(count: int, temperature: float, device: torch.device | None = None) -> Tensor:
    """`temperature ** (i / count)` for i from 0, in float32."""
    return temperature ** (torch.arange(count, device=device, dtype=torch.float32) / count)


class RotaryPosition(nn.Module):
    """Base: `forward` gives the table of a grid of patches.

    Args:
        head_dim: channels of a head, D: a multiple of four.
        temperature: the longest wavelength by the shortest, nearly.
        grid: (rows, columns) of all images, where one is known: its table is made once.
        num_prefix_tokens: class token and registers.
        rotate_half: how channels are paired, as `attention.rotate` takes it.
        columns_first: whether columns stand before rows.
    """

    table: Tensor | None
    by_block = False
    """Whether each block of the network has a table of its own, along the second axis."""

    def __init__(
        self,
        head_dim: int,
        *,
        temperature: float,
        grid: Size | None = None,
        num_prefix_tokens: int = 0,
        rotate_half: bool = False,
        columns_first: bool = False,
    ) -> None:
        super().__init__()
        if head_dim % 4:
            raise UsageError(f"The channels of a head turn by fours with rows and columns, found {head_dim}.")
        self.head_dim, self.temperature, self.grid = head_dim, temperature, grid
        self.num_prefix_tokens, self.rotate_half, self.columns_first = num_prefix_tokens, rotate_half, columns_first
        self.register_buffer("table", None, persistent=False)

    def keep_table(self) -> None:
        """Make the table of the known grid, on the CPU also where the model is on meta."""
        if self.grid:
            self.table = self.make_table(self.grid, torch.device("cpu"), torch.float32)

    def forward(self, grid: Size, like: Tensor) -> Tensor:
        """(2, prefix + rows * columns, D), or what its second axis says, for tokens of this device and dtype."""
        return table_for(self, grid, like)

    def table_for(self, grid: Size, like: Tensor) -> Tensor:
        """What `forward` gives, for sizes that are known."""
        if self.table is not None and grid == self.grid:
            return self.table
        return self.make_table(grid, like.device, torch.promote_types(like.dtype, torch.float32))

    def make_table(self, grid: Size, device: torch.device, dtype: torch.dtype) -> Tensor:
        return rotary_table(self.angles(grid, device, dtype), self.num_prefix_tokens, self.rotate_half)

    def angles(self, grid: Size, device: torch.device, dtype: torch.dtype) -> Tensor:
        """(rows * columns, D / 2)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.head_dim}, temperature={self.temperature:g}"


@leaf_function
def table_for(rotary: RotaryPosition, grid: Size, like: Tensor) -> Tensor:
    """The table of a grid, as `RotaryPosition.forward` gives it."""
    return rotary.table_for(grid, like)


class AxialRotary(RotaryPosition):
    """Half of the points turn with the row and half with the column, which are counted.

    Args:
        offset: the count of the first.
        reference: (rows, columns) that any other grid is stretched to (EVA-02).
        options: those of the base.
    """

    def __init__(self, head_dim: int, *, offset: float = 0.0, reference: Size | None = None, **options: Any) -> None:
        super().__init__(head_dim, **options)
        self.offset, self.reference = offset, reference
        self.keep_table()

    def make_table(self, grid: Size, device: torch.device, dtype: torch.dtype) -> Tensor:
        return super().make_table(grid, device, dtype).float()

    def angles(self, grid: Size, device: torch.device, dtype: torch.dtype) -> Tensor:
        places = [torch.arange(side, device=device, dtype=torch.float32) + self.offset for side in grid]
        if self.reference:
            places = [place / side * known for place, side, known in zip(places, grid, self.reference, strict=True)]
        return self.turned(grid_cells(places[0], places[1], self.columns_first), dtype)

    def turned(self, cells: Tensor, dtype: torch.dtype) -> Tensor:
        """Coordinates (..., 2) -> angles (..., D / 2)."""
        rates = 1.0 / wavelengths(self.head_dim // 4, self.temperature, cells.device)
        return (cells.unsqueeze(-1) * rates.to(dtype)).flatten(-2)


class CentredRotary(RotaryPosition):
    """The same where the sides of an image lie at -1 and 1, whatever its patches.

    `rescale` R enlarges the coordinates of a batch in training by a random factor between 1 / R and R.
    """

    def __init__(self, head_dim: int, *, rescale: float = 1.0, **options: Any) -> None:
        super().__init__(head_dim, **options)
        self.rescale = rescale
        self.keep_table()

    def table_for(self, grid: Size, like: Tensor) -> Tensor:
        if self.training and self.rescale > 1:
            return self.make_table(grid, like.device, torch.promote_types(like.dtype, torch.float32))
        return super().table_for(grid, like)

    def angles(self, grid: Size, device: torch.device, dtype: torch.dtype) -> Tensor:
        rows, columns = (
            2 * ((torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side) - 1 for side in grid
        )
        cells = grid_cells(rows, columns, self.columns_first).to(dtype)
        if self.training and self.rescale > 1:
            most = log(self.rescale)
            cells = cells * cells.new_empty(1).uniform_(-most, most).exp()
        periods = wavelengths(self.head_dim // 4, self.temperature, device).to(dtype)
        return (tau * cells.unsqueeze(-1) / periods).flatten(-2)


class MixedRotary(RotaryPosition):
    """Each point of each head of each block turns with a learned mixture of row and column, `freqs`.

    At first the directions of a head's points are at right angles, and those of heads are random.

    Args:
        depth: blocks of the network.
        num_heads: heads of each.
        options: those of the base.
    """

    by_block = True

    def __init__(self, head_dim: int, depth: int, num_heads: int, **options: Any) -> None:
        super().__init__(head_dim, **options)
        self.freqs = nn.Parameter(torch.empty(2, depth, num_heads, head_dim // 2))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        first = tau * torch.rand(*self.freqs.shape[1:3], 1, device=self.freqs.device)
        directions = torch.cat([first, first + pi / 2], -1)
        rates = 1.0 / wavelengths(self.head_dim // 4, self.temperature, self.freqs.device)
        for axis, part in enumerate((directions.cos(), directions.sin())):
            self.freqs[axis] = (part.unsqueeze(-1) * rates).flatten(-2)

    def angles(self, grid: Size, device: torch.device, dtype: torch.dtype) -> Tensor:  # noqa: ARG002 - float32, always
        """(depth, heads, rows * columns, D / 2)."""
        rows, columns = (torch.arange(side, device=device, dtype=torch.float32) for side in grid)
        first, second = grid_cells(rows, columns, self.columns_first).unbind(-1)
        along, across = self.freqs.float().unsqueeze(-2)
        return first.unsqueeze(-1) * along + second.unsqueeze(-1) * across

    def extra_repr(self) -> str:
        return f"{self.head_dim}, blocks and heads: {tuple(self.freqs.shape[1:3])}, temperature={self.temperature:g}"
