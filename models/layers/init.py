"""Initial values of convolutions and linear layers: the schemes that families choose from, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import sqrt
from typing import Literal, NamedTuple

import torch.nn as nn

Layer = nn.Conv2d | nn.Linear
FillWeight = Callable[[Layer], object]


def kaiming(
    layer: Layer,
    mode: Literal["fan_in", "fan_out"] = "fan_out",
    nonlinearity: Literal["linear", "relu"] = "relu",
) -> None:
    """Normal, its variance the gain of the activation by the fan (He et al., arXiv:1502.01852); groups do not count."""
    nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity=nonlinearity)


def grouped_fan_out(layer: Layer) -> None:
    """Normal with variance 2 / fan-out, of which a grouped convolution has less: as TensorFlow's EfficientNet."""
    assert isinstance(layer, nn.Conv2d)
    fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1] // layer.groups
    nn.init.normal_(layer.weight, std=sqrt(2 / fan_out))


def uniform_fan_out(layer: Layer) -> None:
    """Uniform within one by the root of the number of outputs: as TensorFlow's EfficientNet."""
    nn.init.uniform_(layer.weight, -1 / sqrt(len(layer.weight)), 1 / sqrt(len(layer.weight)))


def normal(std: float) -> FillWeight:
    return lambda layer: nn.init.normal_(layer.weight, std=std)


def truncated_normal(std: float) -> FillWeight:
    """Normal, nothing beyond 2."""
    return lambda layer: nn.init.trunc_normal_(layer.weight, std=std)


def zero_bias_alone(layer: Layer) -> None:
    """The weight as torch has it, the bias zero."""
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


class InitialValues(NamedTuple):
    """How the layers of a network start; None leaves a kind of layer with PyTorch's own values.

    Args:
        conv, linear: fill the weight of a convolution, of a linear layer.
        zero_bias: whether the biases of both start as zero.
    """

    conv: FillWeight | None = None
    linear: FillWeight | None = None
    zero_bias: bool = False

    def fill(self, module: nn.Module) -> None:
        """Give the module its values in place, where the scheme has any for it."""
        if not isinstance(module, nn.Conv2d | nn.Linear):
            return
        fill_weight = self.conv if isinstance(module, nn.Conv2d) else self.linear
        if fill_weight is not None:
            fill_weight(module)
        if self.zero_bias and module.bias is not None:
            nn.init.zeros_(module.bias)


TORCH = InitialValues()
KAIMING = InitialValues(kaiming)
KAIMING_UNBIASED = InitialValues(kaiming, zero_bias_alone)
KAIMING_NORMAL = InitialValues(kaiming, normal(0.01), zero_bias=True)
GROUPED_FAN_OUT = InitialValues(grouped_fan_out, normal(0.01), zero_bias=True)
KAIMING_FAN_IN = InitialValues(partial(kaiming, mode="fan_in", nonlinearity="linear"), normal(0.01), zero_bias=True)
TRUNCATED_NORMAL = InitialValues(truncated_normal(0.02), truncated_normal(0.02), zero_bias=True)
FAN_OUT_TRUNCATED = InitialValues(grouped_fan_out, truncated_normal(0.02), zero_bias=True)
