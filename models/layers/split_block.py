"""A block that has a level of features inside it."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn as nn
from torch import Tensor


class SplitBlock(nn.Module):
    """A block in two parts: `start` gives the level's map and what else `end` needs, the input of the shortcut."""

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def end(self, level: Tensor, shortcut: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor, started: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The block's output; where it was `started` already, only its end runs."""
        return self.end(*(started or self.start(x)))

    def split(self) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """The two parts as steps from tensor to tensor, for one pass through the model."""
        shortcut: Tensor

        def first(x: Tensor) -> Tensor:
            nonlocal shortcut
            level, shortcut = self.start(x)
            return level

        def second(level: Tensor) -> Tensor:
            # By a call of the block, so that its hooks see the output.
            output: Tensor = self(level, (level, shortcut))
            return output

        return first, second
