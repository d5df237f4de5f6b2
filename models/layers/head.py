"""What stands between pooling and classifier."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn as nn
from torch import Tensor

from zoo.models.layers.activation import make_activation
from zoo.models.layers.norm import NormFactory


class NormMlpHead(nn.Module):
    """A norm and, where `hidden` is not 0, a linear layer with activation. The classifier is its child `fc`.

    Each pooled vector passes by itself: pooling that gives several gives several outputs side by side. Maps that are
    not pooled stay maps.
    """

    def __init__(self, channels: int, norm: NormFactory, hidden: int = 0, act: str = "gelu") -> None:
        super().__init__()
        self.channels, self.out_channels = channels, hidden or channels
        self.norm = norm(channels)
        layers = OrderedDict(fc=nn.Linear(channels, hidden), act=make_activation(act)) if hidden else None
        self.pre_logits = nn.Sequential(layers) if layers else nn.Identity()

    def width(self, pooled: int) -> int:
        """Channels of the output for `pooled` channels of input."""
        return pooled // self.channels * self.out_channels

    def forward(self, x: Tensor, *, is_map: bool = False) -> Tensor:
        """(N, k * channels) -> (N, k * out_channels); a map (N, channels, H, W) -> (N, out_channels, H, W)."""
        if is_map:
            return self.pre_logits(self.norm(x).movedim(1, -1)).movedim(-1, 1)
        vectors = self.norm(x.reshape(-1, self.channels, 1, 1)).flatten(1)
        return self.pre_logits(vectors).reshape(x.shape[0], -1)
