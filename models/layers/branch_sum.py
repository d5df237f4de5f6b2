"""Parallel branches that are added."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor


class BranchSum(nn.ModuleList):
    """What its modules make of one input, added: linear branches that one convolution can stand for.

    Ding et al., RepVGG (arXiv:2101.03697).
    """

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self
        total: Tensor = first(x)
        for branch in others:
            total = total + branch(x)
        return total
