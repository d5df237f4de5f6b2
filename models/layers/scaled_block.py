"""Blocks that keep the factors of their residual branches as parameters of their own.

Layer scale (Touvron et al., arXiv:2103.17239, section 2) under the names of older checkpoints; `LayerScale` is the
module for it elsewhere.
"""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from zoo.models.layers.layer_scale import ChannelScale, scale_tokens
from zoo.models.layers.transformer_block import BlockStyle


class ScaledBlock(ChannelScale):
    """A block of tokens (..., C) with a learned factor for each channel of each branch.

    Args:
        style: of the network's blocks, with the initial value of the factors.
        scales: a parameter's name for each branch; none where branches are not scaled.
    """

    def __init__(self, style: BlockStyle, scales: tuple[str, ...]) -> None:
        super().__init__()
        self.scales, self.init_values = scales, style.init_values
        for name in scales:
            self.register_parameter(name, nn.Parameter(torch.empty(style.embed_dim)))

    def reset_parameters(self) -> None:
        for name in self.scales:
            nn.init.constant_(self.get_parameter(name), self.init_values)

    def scaled(self, branch: int, x: Tensor) -> Tensor:
        """What a branch gives, times its factors."""
        return scale_tokens(x, getattr(self, self.scales[branch])) if self.scales else x
