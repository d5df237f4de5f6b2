"""Layers and norms as linear maps, to compute the one layer that stands for several.

In evaluation a batch norm scales and shifts channels, so `norm(W x + b)` is another layer of the same kind (Jacob et
al., arXiv:1712.05877, section 3.2), and so is a sum of layers that read one input (Ding et al., arXiv:2101.03697).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

Layer = nn.Conv2d | nn.Linear


class NotDiagonalError(ValueError):
    """A norm that depends on more than its channel, so that no layer can take it over."""


@dataclass(frozen=True)
class Diagonal:
    """`scale * x + shift` for each channel, both (C,) in float64."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, norm: nn.Module) -> Diagonal:
        """What a batch norm computes in evaluation, without any activation of its own.

        Raises NotDiagonalError for another kind of norm, or one without statistics.
        """
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
            raise NotDiagonalError(f"A batch norm with statistics was expected, found {norm}.")
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        if norm.weight is not None:
            scale = scale * norm.weight.detach().double()
        shift = -norm.running_mean.double() * scale
        return cls(scale, shift if norm.bias is None else shift + norm.bias.detach().double())

    @classmethod
    def factor(cls, scale: Tensor) -> Diagonal:
        """Channels times these factors (C,)."""
        scale = scale.detach().double()
        return cls(scale, torch.zeros_like(scale))

    @classmethod
    def identity(cls, like: nn.Module) -> Diagonal:
        """The input itself, of as many channels as a layer gives."""
        assert isinstance(like, Layer)
        return cls.factor(torch.ones(len(like.weight), device=like.weight.device))

    def __neg__(self) -> Diagonal:
        return Diagonal(-self.scale, -self.shift)


@dataclass(frozen=True)
class LinearMap:
    """`weight * x + bias`, a convolution or a matrix product, in float64."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, layer: nn.Module, norm: nn.Module | None = None) -> LinearMap:
        """A layer, and a batch norm behind it. Raises NotDiagonalError as `Diagonal.of`."""
        assert isinstance(layer, Layer)
        weight = layer.weight.detach().double()
        bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().double()
        found = cls(weight, bias)
        return found if norm is None else found.then(Diagonal.of(norm))

    def then(self, diagonal: Diagonal) -> LinearMap:
        """This map and then a diagonal one."""
        scale = diagonal.scale.view(-1, *[1] * (self.weight.ndim - 1))
        return LinearMap(self.weight * scale, self.bias * diagonal.scale + diagonal.shift)

    def after(self, diagonal: Diagonal) -> LinearMap:
        """A diagonal map and then this one, which neither pads nor has groups: padding would see no shift."""
        scale = diagonal.scale.view(1, -1, *[1] * (self.weight.ndim - 2))
        shift = self.weight.flatten(2).sum(2) if self.weight.ndim > 2 else self.weight
        return LinearMap(self.weight * scale, self.bias + shift @ diagonal.shift)

    def __add__(self, other: LinearMap | Diagonal) -> LinearMap:
        """The sum for one input; smaller kernels stand in the middle, and a diagonal map is such a kernel of 1x1."""
        if isinstance(other, Diagonal):
            weight, rows = self.weight.clone(), torch.arange(len(self.weight), device=self.weight.device)
            height, width = weight.shape[2:]
            weight[rows, rows % weight.shape[1], height // 2, width // 2] += other.scale
            return LinearMap(weight, self.bias + other.shift)
        large, small = (self, other) if self.weight.shape[-1] >= other.weight.shape[-1] else (other, self)
        border = (large.weight.shape[-1] - small.weight.shape[-1]) // 2
        return LinearMap(large.weight + F.pad(small.weight, [border] * 4), large.bias + small.bias)

    def __truediv__(self, number: float) -> LinearMap:
        return replace(self, weight=self.weight / number, bias=self.bias / number)

    def as_layer(self, like: nn.Module) -> nn.Module:
        """A layer of this map with the stride, padding and groups of another, and with its dtype and device."""
        assert isinstance(like, Layer)
        width, inputs, *kernel = self.weight.shape
        layer: Layer
        if isinstance(like, nn.Linear):
            layer = nn.Linear(inputs, width, device="meta")
        else:
            make: Any = type(like)
            options = like.stride, like.padding, like.dilation, like.groups
            layer = make(inputs * like.groups, width, tuple(kernel), *options, device="meta")
        layer.weight, layer.bias = (
            nn.Parameter(value.to(like.weight.dtype), like.weight.requires_grad) for value in (self.weight, self.bias)
        )
        return layer.train(like.training)


def sum_of_normed(branches: Iterable[nn.Module]) -> LinearMap:
    """The sum of modules whose first two parts are a convolution and its batch norm, and which do nothing else.

    Raises NotDiagonalError as `Diagonal.of`.
    """
    parts = (tuple(branch.children()) for branch in branches)
    first, *others = (LinearMap.of(layer, norm) for layer, norm, *_ in parts)
    return sum(others, first)
