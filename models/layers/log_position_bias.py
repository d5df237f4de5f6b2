"""Biases of attention that a small perceptron makes of where a key lies relative to its query.

Liu et al., Swin Transformer V2 (arXiv:2111.09883), section 3.3: the offsets are logarithms, so that a perceptron serves
windows of any size.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.mlp import Mlp
from zoo.models.layers.relative_position import Size, relative_position_index


def log_offsets(window: Size) -> Tensor:
    """`sign(d) log(1 + |d|)` of each offset d in a window, down and across: (2h - 1, 2w - 1, 2), in float32."""
    # A constant: on the CPU also where the model is on meta.
    axes = [torch.arange(1 - side, side, device="cpu", dtype=torch.float32) for side in window]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    return offsets.sign() * (1 + offsets.abs()).log()  # not log1p, which rounds otherwise


def scaled_log_offsets(window: Size, trained: Size) -> Tensor:
    """As `log_offsets`, of offsets that are scaled: 8 is the width of the windows that the perceptron was trained in.

    The logarithms are to the base of 8.
    """
    axes = [
        torch.arange(1 - side, side, device="cpu", dtype=torch.float32) / max(width - 1, 1)
        for side, width in zip(window, trained, strict=True)
    ]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) * 8
    return offsets.sign() * (offsets.abs() + 1).log2() / 3


def biases_of_pairs(by_offset: Tensor, index: Tensor) -> Tensor:
    """(heads, offsets) and the `relative_position_index` (cells, cells) -> biases (1, heads, cells, cells)."""
    return by_offset.index_select(1, index.flatten()).unflatten(1, index.shape).unsqueeze(0)


class LogPositionBias(nn.Module):
    """`forward()` gives the biases (1, heads, prefix + cells, prefix + cells) of a window; those of a prefix are 0.

    With three dimensions they would keep torch's attention on the CPU from its fused kernel.

    Args:
        window: (height, width) in cells.
        num_heads: biases of a pair.
        hidden: channels between the layers of the perceptron.
        num_prefix_tokens: tokens before the cells.
    """

    rel_coords_log: Tensor
    relative_position_index: Tensor

    def __init__(self, window: Size, num_heads: int, hidden: int = 128, num_prefix_tokens: int = 0) -> None:
        super().__init__()
        self.num_prefix_tokens = num_prefix_tokens
        self.mlp = Mlp(2, hidden, num_heads, act="relu")
        self.mlp.drop1 = nn.Dropout(0.125)
        self.register_buffer("rel_coords_log", log_offsets(window), persistent=False)
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)

    def forward(self) -> Tensor:
        by_offset = self.mlp(self.rel_coords_log).flatten(0, 1).T.contiguous()
        biases = biases_of_pairs(by_offset, self.relative_position_index)
        return F.pad(biases, (self.num_prefix_tokens, 0) * 2) if self.num_prefix_tokens else biases
