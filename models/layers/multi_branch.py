"""Blocks of parallel branches, each a linear map with its own norm, so that one convolution can stand for all of them.

Ding et al., RepVGG (arXiv:2101.03697); Vasu et al., MobileOne (arXiv:2206.04040).
"""

from __future__ import annotations

from functools import partial

import torch.nn as nn
from torch import Tensor

from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.norm_act import NormActFactory


class RepVggBlock(nn.Module):
    """`act(attn(conv_kxk(x) + conv_1x1(x) + identity(x)))`, the last a norm where the shape stays.

    Args:
        in_channels, channels: of input and output.
        kernel, stride, dilation, groups: of `conv_kxk`; `conv_1x1` has its stride and groups.
        keeps_shape: whether there is an identity branch.
        norm_act: makes the norms.
        act: the activation.
        attn: attention after the sum.
        drop_path: rate of stochastic depth of the two convolutions; only with an identity branch.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        keeps_shape: bool,
        norm_act: NormActFactory,
        act: str,
        attn: nn.Module | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        conv = partial(ConvNormAct, in_channels, channels, norm_act=norm_act, act="identity", groups=groups)
        self.identity = norm_act(channels, act="identity") if keeps_shape else None
        self.conv_kxk = conv(kernel, stride, dilation=dilation)
        self.conv_1x1 = conv(1, stride)
        self.drop_path = make_drop_path(drop_path if keeps_shape else 0.0)
        self.attn = attn or nn.Identity()
        self.act = make_activation(act)

    def reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 0.1, 0.1)
                nn.init.normal_(module.bias, 0.0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        branches = self.conv_1x1(x) + self.conv_kxk(x)
        if self.identity is not None:
            branches = self.drop_path(branches) + self.identity(x)
        return self.act(self.attn(branches))


class MobileOneBlock(nn.Module):
    """`act(attn(sum of conv_kxk's branches + conv_scale(x) + identity(x)))`.

    `conv_scale` is a 1x1 convolution that a kernel of 1 goes without; the identity is a norm, where the shape stays.

    Args:
        in_channels, channels: of input and output.
        kernel, stride, groups: of the branches of `conv_kxk`.
        branches: how many they are.
        keeps_shape, norm_act, act, attn, drop_path: as for `RepVggBlock`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        groups: int = 1,
        branches: int = 1,
        keeps_shape: bool,
        norm_act: NormActFactory,
        act: str,
        attn: nn.Module | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        conv = partial(ConvNormAct, in_channels, channels, norm_act=norm_act, act="identity", groups=groups)
        self.identity = norm_act(channels, act="identity") if keeps_shape else None
        self.conv_kxk = nn.ModuleList(conv(kernel, stride) for _ in range(branches))
        self.conv_scale = conv(1, stride) if kernel > 1 else None
        self.drop_path = make_drop_path(drop_path if keeps_shape else 0.0)
        self.attn = attn or nn.Identity()
        self.act = make_activation(act)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [conv(x) for conv in self.conv_kxk]
        if self.conv_scale is not None:
            outputs.append(self.conv_scale(x))
        total = self.drop_path(sum(outputs[1:], outputs[0]))
        if self.identity is not None:
            total = total + self.identity(x)
        return self.act(self.attn(total))
