"""LayerScale (Touvron et al., CaiT, arXiv:2103.17239): a residual branch scaled per channel by what is learned."""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor


class LayerScale(nn.Module):
    """(..., C) -> the same, channel c times `gamma[c]`, which starts as `init_value`."""

    def __init__(self, channels: int, init_value: float = 1e-5) -> None:
        super().__init__()
        self.init_value = init_value
        self.gamma = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.gamma, self.init_value)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma

    def extra_repr(self) -> str:
        return f"{len(self.gamma)}, init_value={self.init_value}"


class LayerScale2d(LayerScale):
    """The same over (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.view(-1, 1, 1)
