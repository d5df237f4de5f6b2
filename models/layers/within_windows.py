"""A function of sequences of tokens, such as attention, run within the windows of a map of any size.

Liu et al., Swin Transformer (arXiv:2103.14030), section 3.2. Windows are (height, width).
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.window import Size, merge_windows, padded_size, partition_windows


def within_windows(function: Callable[[Tensor], Tensor], x: Tensor, window: Size) -> Tensor:
    """Map (N, H, W, C) -> the same, by a function of windows (N * windows, cells, C).

    Zeros fill up the windows at the right and bottom border.
    """
    size = height, width = x.shape[1], x.shape[2]
    padded = padded_size(size, window)
    if padded != size:
        x = F.pad(x, (0, 0, 0, padded[1] - width, 0, padded[0] - height))
    return merge_windows(function(partition_windows(x, window)), window, padded)[:, :height, :width]
