"""The maximum over windows with TensorFlow's SAME padding."""

from __future__ import annotations

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.conv_same import pad_same


class MaxPool2dSame(nn.Module):
    """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride)); the padding is no maximum of any window."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        x = pad_same(x, (self.kernel,) * 2, (self.stride,) * 2, (1, 1), value=float("-inf"))
        return F.max_pool2d(x, self.kernel, self.stride)
