"""Activations by the names that specs use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError


class QuickGELU(nn.Module):
    """`x * sigmoid(1.702 x)`, the approximation of arXiv:1606.08415, section 2."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1.702 * x).sigmoid()


class SquaredReLU(nn.Module):
    """`relu(x)^2` (So et al., Primer, arXiv:2109.08668)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().square()


class StarReLU(nn.Module):
    """`scale * relu(x)^2 + bias`, both learned, one number each (Yu et al., arXiv:2210.13452, section 3.1)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, self.scale, x.relu().square())


ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_swish": nn.Hardswish,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "leaky_relu_0.001": partial(nn.LeakyReLU, negative_slope=1e-3),
    "mish": nn.Mish,
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "squared_relu": SquaredReLU,
    "star_relu": StarReLU,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}
_NOT_IN_PLACE = {"gelu", "gelu_tanh", "identity", "quick_gelu", "sigmoid", "squared_relu", "star_relu", "tanh"}


def make_activation(name: str, inplace: bool = True) -> nn.Module:
    """A new activation; in place where it can be, as the input is not needed after it."""
    if name not in ACTIVATIONS:
        raise UsageError(f"An activation must be one of {', '.join(ACTIVATIONS)}, found {name!r}.")
    return ACTIVATIONS[name]() if name in _NOT_IN_PLACE else ACTIVATIONS[name](inplace=inplace)
