"""The order of a map's values in memory, which decides how fast the convolutions of a CPU are.

oneDNN's convolutions are up to a third faster where the channels of a map are innermost, and what follows keeps that
order. It is taken on the CPU, in float32 and without gradients, for as many pixels as make up for bringing the weights
into that order, too, at each call. What comes out has the order of what went in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.models.layers.tracing import leaf_function

LEAST_PIXELS = 150_000
"""Three images of 224 x 224: from there on no network that was measured is slower (`bench/forward.py`)."""


@leaf_function
def channels_innermost(x: Any) -> Any:
    """A map (N, C, H, W) in the order that convolutions read fastest; anything else as it is."""
    # A graph that is compiled or traced gets the order of whoever runs it.
    is_recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if is_recorded or torch.is_grad_enabled() or not isinstance(x, Tensor) or x.ndim != 4:
        return x
    is_gain = x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() >= LEAST_PIXELS * x.shape[1]
    return x.contiguous(memory_format=torch.channels_last) if is_gain else x


def in_order_of(first: Any, x: Any) -> Any:
    """A map (N, C, H, W) in the order of the one that it was computed from; anything else as it is."""
    # Of several tensors a trace must know that they are several.
    return x if isinstance(x, tuple | list | Mapping) else _map_in_order_of(first, x)


@leaf_function
def _map_in_order_of(first: Any, x: Tensor) -> Tensor:
    is_changed = x.ndim == 4 and isinstance(first, Tensor) and first.is_contiguous() and not x.is_contiguous()
    return x.contiguous() if is_changed else x
