"""Blocks of parallel branches, each a linear map with its own norm: in evaluation one convolution stands for all.

Ding et al., RepVGG (arXiv:2101.03697); Vasu et al., MobileOne (arXiv:2206.04040).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch.nn as nn
from torch import Tensor

from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_norm_act import ConvFactory, ConvNormAct
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.linear_map import Diagonal, LinearMap, sum_of_normed
from zoo.models.layers.norm_act import NormActFactory
from zoo.models.layers.stages import BlockPlace


class MultiBranchBlock(nn.Module):
    """`act(attn(branches(x) + identity(x)))`, the identity a norm, where the shape stays; else without it.

    Args:
        place: of the block; `first_dilation` is that of a RepVGG's larger convolution. Without an identity there is
            no stochastic depth.
        kernel, groups: of the convolutions.
        branches: how many of the larger ones a MobileOne has.
        norm_act: makes the norms.
        act: the activation.
        attn: attention after the sum.
    """

    attn_name: ClassVar[str] = "attn"
    """What the attention's keys start with."""

    def __init__(
        self,
        place: BlockPlace,
        kernel: int = 3,
        groups: int = 1,
        branches: int = 1,
        *,
        norm_act: NormActFactory,
        act: str,
        attn: nn.Module | None = None,
    ) -> None:
        super().__init__()
        conv = partial(ConvNormAct, place.in_channels, place.channels, norm_act=norm_act, act="identity", groups=groups)
        self.identity = norm_act(place.channels, act="identity") if place.keeps_shape else None
        self.make_branches(conv, place, kernel, branches)
        self.drop_path = make_drop_path(place.drop_path if place.keeps_shape else 0.0)
        self.add_module(self.attn_name, attn or nn.Identity())
        self.act = make_activation(act)

    def make_branches(self, conv: ConvFactory, place: BlockPlace, kernel: int, branches: int) -> None:
        """Create the convolutions; `conv` takes their kernel and stride."""
        raise NotImplementedError

    def branches(self, x: Tensor) -> Tensor:
        """The sum of the convolutions."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        total = self.drop_path(self.branches(x))
        if self.identity is not None:
            total = total + self.identity(x)
        total = getattr(self, self.attn_name)(total)
        return self.act(total)

    def conv_norms(self) -> Sequence[ConvNormAct]:
        """The convolutions with their norms, the first with the largest kernel."""
        raise NotImplementedError

    def linear_map(self) -> LinearMap:
        """The sum of the branches and the identity."""
        total = sum_of_normed(self.conv_norms())
        return total if self.identity is None else total + Diagonal.of(self.identity)

    def fuse(self) -> nn.Module:
        """`act(attn(reparam_conv(x)))`."""
        parts = {
            "reparam_conv": self.linear_map().as_layer(self.conv_norms()[0].conv),
            self.attn_name: self.get_submodule(self.attn_name),
            "act": self.act,
        }
        return nn.Sequential(OrderedDict(parts))


class RepVggBlock(MultiBranchBlock):
    """`conv_kxk` and `conv_1x1`."""

    def make_branches(self, conv: ConvFactory, place: BlockPlace, kernel: int, branches: int) -> None:  # noqa: ARG002 - two
        self.conv_kxk = conv(kernel, place.stride, dilation=place.first_dilation)
        self.conv_1x1 = conv(1, place.stride)

    def reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 0.1, 0.1)
                nn.init.normal_(module.bias, 0.0, 0.1)

    def branches(self, x: Tensor) -> Tensor:
        return self.conv_1x1(x) + self.conv_kxk(x)

    def conv_norms(self) -> Sequence[ConvNormAct]:
        return self.conv_kxk, self.conv_1x1


class MobileOneBlock(MultiBranchBlock):
    """Several in `conv_kxk`, and `conv_scale`, a 1x1 convolution that a kernel of 1 goes without."""

    def make_branches(self, conv: ConvFactory, place: BlockPlace, kernel: int, branches: int) -> None:
        self.conv_kxk = nn.ModuleList(conv(kernel, place.stride) for _ in range(branches))
        self.conv_scale = conv(1, place.stride) if kernel > 1 else None

    def branches(self, x: Tensor) -> Tensor:
        outputs = [conv(x) for conv in self.conv_kxk]
        if self.conv_scale is not None:
            outputs.append(self.conv_scale(x))
        return sum(outputs[1:], outputs[0])

    def conv_norms(self) -> Sequence[ConvNormAct]:
        return [conv for conv in (*self.conv_kxk, self.conv_scale) if isinstance(conv, ConvNormAct)]
