"""One-shot aggregation: Lee et al., VoVNet (arXiv:1904.09730), section 3.2."""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor


class OneShotChain(nn.ModuleList):
    """The input and the output of each layer of a chain, side by side, for one layer that reads them all."""

    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """(N, C, H, W) -> the maps of all, in order; the chain reads `start` where that is given."""
        maps, x = [x], x if start is None else start
        for layer in self:
            x = layer(x)
            maps.append(x)
        return torch.cat(maps, 1)
