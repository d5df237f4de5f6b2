"""A learned factor for each channel of a residual branch, small at first.

Touvron et al., Going deeper with Image Transformers (arXiv:2103.17239), section 2.
"""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor


class ChannelScale(nn.Module):
    """A module whose parameters `scales` are factors of what comes before them; it takes None for each as no factor."""

    scales: tuple[str, ...] = ("gamma",)


def scale_tokens(x: Tensor, gamma: Tensor | None) -> Tensor:
    """Tokens (..., C) times a factor for each channel, (C,); as they are without factors."""
    return x if gamma is None else x * gamma


def scale_maps(x: Tensor, gamma: Tensor | None) -> Tensor:
    """Maps (N, C, H, W) times a factor for each channel, (C,); as they are without factors."""
    return x if gamma is None else x * gamma.view(-1, 1, 1)


class LayerScale(ChannelScale):
    """`x * gamma`, the channels last: (..., C) -> (..., C)."""

    gamma: nn.Parameter | None

    def __init__(self, channels: int, initial: float = 1e-5) -> None:
        super().__init__()
        self.initial = initial
        self.gamma = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.gamma is not None:
            nn.init.constant_(self.gamma, self.initial)

    def forward(self, x: Tensor) -> Tensor:
        return scale_tokens(x, self.gamma)

    def extra_repr(self) -> str:
        return "" if self.gamma is None else f"{len(self.gamma)}, initial={self.initial:g}"


class LayerScale2d(LayerScale):
    """The same for maps: (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return scale_maps(x, self.gamma)


class MapScale(LayerScale):
    """The same for maps, with a gamma of the shape (C, 1, 1)."""

    def __init__(self, channels: int, initial: float = 1e-5) -> None:
        super().__init__(channels, initial)
        self.gamma = nn.Parameter(torch.empty(channels, 1, 1))
        self.reset_parameters()


def make_layer_scale(channels: int, initial: float | None) -> nn.Module:
    """A layer scale for (..., C), or the identity where no initial value (or 0) is given."""
    return LayerScale(channels, initial) if initial else nn.Identity()
