"""A learned factor for each channel of a residual branch, small at first.

Touvron et al., Going deeper with Image Transformers (arXiv:2103.17239), section 2.
"""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor


class LayerScale(nn.Module):
    """`x * gamma`, the channels last: (..., C) -> (..., C)."""

    def __init__(self, channels: int, initial: float = 1e-5) -> None:
        super().__init__()
        self.initial = initial
        self.gamma = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.gamma, self.initial)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma

    def extra_repr(self) -> str:
        return f"{len(self.gamma)}, initial={self.initial:g}"


class LayerScale2d(LayerScale):
    """The same for maps: (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.view(-1, 1, 1)


class MapScale(LayerScale):
    """The same for maps, with a gamma of the shape (C, 1, 1)."""

    def __init__(self, channels: int, initial: float = 1e-5) -> None:
        super().__init__(channels, initial)
        self.gamma = nn.Parameter(torch.empty(channels, 1, 1))
        self.reset_parameters()


def make_layer_scale(channels: int, initial: float | None) -> nn.Module:
    """A layer scale for (..., C), or the identity where no initial value (or 0) is given."""
    return LayerScale(channels, initial) if initial else nn.Identity()
