"""Layers that each read the output of all layers before: Huang et al., DenseNet (arXiv:1608.06993), section 3."""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor


class DenselyConnected(nn.Module):
    """The children each get a list, the input and the outputs of all before; returns all side by side."""

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.children():
            maps.append(layer(maps))
        return torch.cat(maps, 1)
