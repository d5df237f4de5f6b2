"""Attention by the angle between queries and keys, within windows.

Liu et al., Swin Transformer V2 (arXiv:2111.09883), section 3.2.
"""

from __future__ import annotations

from math import log
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.attention import Attention
from zoo.models.layers.relative_position import Size, relative_position_index


class CosineWindowAttention(Attention):
    """Self-attention within windows (height, width) whose scores are cosines, by at most 100, and biases.

    A subclass sets `scale_axes`, the number of axes of the scale behind the heads, and gives `position_bias`.
    """

    scale_axes = 0
    relative_position_index: Tensor

    def __init__(self, channels: int, num_heads: int, *, window: Size, **options: Any) -> None:
        super().__init__(channels, num_heads, **options)
        self.logit_scale = nn.Parameter(torch.empty((num_heads,) + (1,) * self.scale_axes))
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.constant_(self.logit_scale, log(10))

    def position_bias(self) -> Tensor:
        """(1, heads, cells, cells)."""
        raise NotImplementedError

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Windows (N * windows, cells, C) -> the same; `mask` (windows, cells, cells) is added to the scores."""
        bias = self.position_bias()
        if mask is not None:
            bias = (bias + mask.unsqueeze(1)).repeat(x.shape[0] // mask.shape[0], 1, 1, 1)
        return super().forward(x, bias)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = super()._project(x)
        # The root takes back the usual division of the scores.
        scale = self.logit_scale.clamp(max=log(100)).exp().view(-1, 1, 1) * self.head_dim**0.5
        return F.normalize(q, dim=-1) * scale, F.normalize(k, dim=-1), v
