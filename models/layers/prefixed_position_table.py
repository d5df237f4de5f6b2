"""Relative positions of patches behind prefix tokens, which look at each other and at patches from nowhere.

Bao et al., BEiT (arXiv:2106.08254), in the authors' code.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.resize.positions import bias_rows
from zoo.models.layers.relative_position import RelativePositionTable, Size


class PrefixedPositionTable(RelativePositionTable):
    """What a layer gets that has a bias for each head and offset between two patches of a grid.

    With prefix tokens the table ends with three rows more: prefix to patch, patch to prefix, prefix to prefix.
    """

    def make_table(self, window: Size, num_heads: int, num_prefix_tokens: int = 0) -> None:
        super().make_table(window, num_heads)
        if num_prefix_tokens:
            rows, prefix = bias_rows(window), slice(num_prefix_tokens)
            self.relative_position_bias_table = nn.Parameter(torch.empty(rows + 3, num_heads))
            index = F.pad(self.relative_position_index, (num_prefix_tokens, 0) * 2)
            index[prefix], index[:, prefix], index[prefix, prefix] = rows, rows + 1, rows + 2
            self.relative_position_index = index

    def position_bias(self) -> Tensor:
        """(1, heads, tokens, tokens): with three dimensions torch's attention would leave its fused kernel."""
        return super().position_bias().unsqueeze(0)
