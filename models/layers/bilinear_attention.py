"""Attention by two learned matrices that mix the rows and the columns of a map.

Chi et al., Non-Local Neural Networks With Grouped Bilinear Attentional Transforms (CVPR 2020).
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.errors import UsageError
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.tracing import leaf_procedure


@leaf_procedure
def check_blocks_divide(x: Tensor, blocks: int) -> None:
    """Raises UsageError for a map (N, C, H, W) that cannot be cut into so many rows and columns of blocks."""
    height, width = x.shape[2:]
    if height % blocks or width % blocks:
        raise UsageError(f"This attention needs maps of a multiple of {blocks} pixels, found {height}x{width}.")


class BilinearTransform(nn.Module):
    """(N, C, H, W) -> the same: for each of `groups` groups of channels, `P x Q`, then a 1x1 convolution.

    P mixes rows, Q columns. Both are (blocks, blocks), computed from the map's maxima: a map is cut into `blocks` times
    `blocks` tiles and tiles are mixed, so its height and width must be multiples of `blocks`.
    """

    def __init__(self, channels: int, blocks: int, groups: int) -> None:
        super().__init__()
        self.blocks, self.groups = blocks, groups
        norm_act = norm_act_factory("batchnorm", "relu")
        self.conv1 = ConvNormAct(channels, groups, norm_act=norm_act)
        self.conv_p = nn.Conv2d(groups, blocks * blocks * groups, (blocks, 1))
        self.conv_q = nn.Conv2d(groups, blocks * blocks * groups, (1, blocks))
        self.conv2 = ConvNormAct(channels, channels, norm_act=norm_act)

    def forward(self, x: Tensor) -> Tensor:
        blocks = self.blocks
        check_blocks_divide(x, blocks)
        maps = self.conv1(x)
        matrix = (self.groups, blocks, blocks)
        rows = self.conv_p(F.adaptive_max_pool2d(maps, (blocks, 1))).flatten(1).unflatten(1, matrix).sigmoid()
        columns = self.conv_q(F.adaptive_max_pool2d(maps, (1, blocks))).flatten(1).unflatten(1, matrix).sigmoid()
        rows = rows / rows.sum(3, keepdim=True)
        columns = columns / columns.sum(2, keepdim=True)
        tiles = x.unflatten(3, (blocks, -1)).unflatten(2, (blocks, -1)).unflatten(1, (self.groups, -1))
        mixed = torch.einsum("ngij,ngcjakb,ngkl->ngcialb", rows, tiles, columns)
        return self.conv2(mixed.reshape(x.shape))


class BilinearAttention(nn.Module):
    """(N, C, H, W) -> the same: the bilinear transform at a fourth of the channels, added to the input."""

    def __init__(self, channels: int, blocks: int = 8, groups: int = 2, drop: float = 0.2) -> None:
        super().__init__()
        hidden = make_divisible(channels / 4)
        norm_act = norm_act_factory("batchnorm", "relu")
        self.conv1 = ConvNormAct(channels, hidden, norm_act=norm_act)
        self.ba = BilinearTransform(hidden, blocks, groups)
        self.conv2 = ConvNormAct(hidden, channels, norm_act=norm_act)
        self.dropout = nn.Dropout2d(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.conv2(self.ba(self.conv1(x)))) + x
