"""A classifier whose weight is kept as that of a convolution."""

from __future__ import annotations

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class PointwiseClassifier(nn.Conv2d):
    """A linear classifier whose weight is kept as that of a 1x1 convolution: (N, C) -> (N, classes)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.flatten(1), self.bias)
