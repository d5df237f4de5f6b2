"""Space to depth: pixels of a block become channels."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor


class SpaceToDepth(nn.Module):
    """(N, C, H, W) -> (N, B B C, H / B, W / B); channel `(row B + column) C + c` is that pixel of a B x B block.

    Height and width must be multiples of B.
    """

    def __init__(self, block_size: int) -> None:
        super().__init__()
        self.block_size = block_size

    def forward(self, x: Tensor) -> Tensor:
        size = self.block_size
        x = x.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (N, C, H / B, row, W / B, column)
        return x.permute(0, 3, 5, 1, 2, 4).flatten(1, 3).contiguous()

    def extra_repr(self) -> str:
        return str(self.block_size)
