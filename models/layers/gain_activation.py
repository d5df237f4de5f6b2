"""Activations that keep the variance of their input, for networks without normalisation.

Brock et al., Characterizing signal propagation to close the performance gap in unnormalized ResNets
(arXiv:2101.08692, section 4.3).
"""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.layers.activation import make_activation

VARIANCE_GAINS = {
    "gelu": 1.7015043497085571,
    "identity": 1.0,
    "leaky_relu": 1.70590341091156,
    "relu": 1.7139588594436646,
    "relu6": 1.7131484746932983,
    "sigmoid": 4.803835391998291,
    "silu": 1.7881293296813965,
    "tanh": 1.5939117670059204,
}
"""Activation -> 1 / standard deviation of what it makes of a standard normal input, as DeepMind's code has them."""


def variance_gain(act: str) -> float:
    """The factor that brings an activation's output back to variance 1. Raises UsageError where it is not known."""
    if act not in VARIANCE_GAINS:
        raise UsageError(f"A network without norms can use {', '.join(VARIANCE_GAINS)}, found {act!r}.")
    return VARIANCE_GAINS[act]


class GainActivation(nn.Module):
    """An activation times its gain."""

    def __init__(self, act: str, inplace: bool = False) -> None:
        super().__init__()
        self.act = make_activation(act, inplace)
        self.gain = variance_gain(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x) * self.gain

    def extra_repr(self) -> str:
        return f"gain={self.gain:.4f}"
