"""Convolutions of several scales in a row: each reads a group of the maps and what the one before made of another.

Gao et al., Res2Net (arXiv:1904.01169), section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn as nn
from torch import Tensor

from zoo.models.layers.tracing import listed, same


def multi_scale(
    x: Tensor,
    convs: nn.Module,
    norms: nn.Module | None = None,
    act: Callable[[Tensor], Tensor] = same,
    pool: Callable[[Tensor], Tensor] = same,
    *,
    adds: bool,
) -> Tensor:
    """(N, groups * C, H, W) -> the same channels: convolution, norm and activation of each group but the last.

    Args:
        x: the maps, with one group more than there are convolutions.
        convs, norms: their children are the convolutions and the norms in order; None for no norms.
        act: the activation of all.
        pool: what becomes of the last group: a pooling where the convolutions stride.
        adds: whether the output of a convolution is added to the next group; a block that strides goes without.
    """
    num_groups = len(list(convs.children())) + 1
    *groups, last = listed(x.chunk(num_groups, 1), num_groups)
    scales: list[Tensor] = []
    behind: Iterable[Callable[[Tensor], Tensor]] = norms.children() if norms else [same] * len(groups)
    for group, conv, norm in zip(groups, convs.children(), behind, strict=True):
        scales.append(act(norm(conv(scales[-1] + group if adds and scales else group))))
    return torch.cat([*scales, pool(last)], 1)
