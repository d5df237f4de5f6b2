"""EfficientViT: Cai et al., Multi-Scale Linear Attention for High-Resolution Dense Prediction (arXiv:2205.14756).

Inverted bottlenecks, in the last stages alternating with attention whose cost is linear in the number of cells.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.efficientvit_mit import EfficientVitMitSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.expanded_head import ExpandedHead
from zoo.models.layers.conv_unit import conv_unit
from zoo.models.layers.inverted_bottleneck import downsample, fused_mbconv, mbconv, residual
from zoo.models.layers.norm import NormFactory
from zoo.models.layers.tracing import leaf_function

__getattr__ = family_attributes("efficientvit_mit")

BOTTLENECKS: dict[str, Callable[..., nn.Sequential]] = {
    "fused": fused_mbconv,
    "mbconv": mbconv,
    "lean": partial(mbconv, normed=(False, False, True)),
}
SCALES = (5,)
"""Kernels of the convolutions that gather neighbours before the attention."""
EPS = 1e-5


@leaf_function
def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`relu(q) (relu(k)^T v)` by what its weights add up to: (N, heads, L, D) each -> the same (section 3.1).

    In float32 at least, because the sums are over all cells.
    """
    dtype = torch.promote_types(v.dtype, torch.float32)
    values = F.pad(v, (0, 1), value=1.0).to(dtype)  # a column of ones sums the weights
    guard = torch.autocast(q.device.type, enabled=False) if q.device.type != "meta" else nullcontext()
    with guard:
        sums = q.relu().to(dtype) @ (k.relu().to(dtype).transpose(-1, -2) @ values)
        return (sums[..., :-1] / (sums[..., -1:] + EPS)).to(v.dtype)


class MultiScaleAttention(nn.Module):
    """Linear attention with queries, keys and values of single cells and, in heads of their own, of neighbourhoods."""

    def __init__(self, channels: int, head_dim: int, norm: NormFactory) -> None:
        super().__init__()
        self.head_dim = head_dim
        num_heads = channels // head_dim
        width = num_heads * head_dim
        self.qkv = conv_unit(channels, 3 * width, norm=None, bias=False)
        self.aggreg = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3 * width, 3 * width, scale, padding=scale // 2, groups=3 * width, bias=False),
                nn.Conv2d(3 * width, 3 * width, 1, groups=3 * num_heads, bias=False),
            )
            for scale in SCALES
        )
        self.proj = conv_unit(width * (1 + len(SCALES)), channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        size, maps = x.shape[2:], self.qkv(x)
        maps = torch.cat([maps, *(gather(maps) for gather in self.aggreg)], 1)
        heads = maps.flatten(2).unflatten(1, (-1, 3 * self.head_dim)).transpose(-1, -2)
        q, k, v = heads.chunk(3, -1)
        attended = linear_attention(q, k, v)
        return self.proj(attended.transpose(-1, -2).flatten(1, 2).unflatten(2, size))


class EfficientVit(ExpandedHead, ConvNet):
    """Stem, four stages, a wide convolution, pooling, a hidden layer, classifier `head.classifier.4`."""

    spec: EfficientVitMitSpec
    expansion = "head.in_conv"
    hidden_layers = ("head.classifier.0", "head.classifier.1", "head.classifier.2")

    def build(self) -> None:
        spec, in_channels = self.spec, self.spec.widths[0]
        self.make_norm = partial(nn.BatchNorm2d, eps=spec.norm_eps)
        stem: dict[str, nn.Module] = {
            "in_conv": conv_unit(self.in_chans, in_channels, 3, 2, norm=self.make_norm, act=spec.act_layer)
        }
        for index in range(spec.depths[0]):
            stem[f"res{index}"] = residual(self._stem_block(in_channels))
        self.stem = nn.Sequential(OrderedDict(stem))
        self.stages = nn.Sequential()
        for stage, channels in enumerate(spec.widths[1:]):
            kind, opening, expand = spec.stages[stage]
            first = self._bottleneck("lean" if kind == "attention" else kind, in_channels, channels, opening, stride=2)
            blocks = nn.Sequential(downsample(first))
            blocks.extend(self._block(kind, channels, expand) for _ in range(spec.depths[stage + 1]))
            self.stages.append(nn.Sequential(OrderedDict(blocks=blocks)))
            self.add_level(channels, 4 << stage, f"stages.{stage}")
            in_channels = channels
        self.num_features = in_channels
        hidden = nn.Sequential(*self.make_hidden_layer(spec.norm_eps), nn.Identity())  # in place of the dropout
        self.head = nn.Sequential(OrderedDict(in_conv=self.make_expansion(), classifier=hidden))

    def _stem_block(self, channels: int) -> nn.Sequential:
        """Two convolutions: depthwise and pointwise, or in the networks with fused bottlenecks dense ones."""
        unit = partial(conv_unit, channels, channels, norm=self.make_norm)
        act = self.spec.act_layer
        if self.spec.stages[0].kind == "fused":
            return nn.Sequential(OrderedDict(conv1=unit(3, act=act), conv2=unit(3)))
        return nn.Sequential(OrderedDict(depth_conv=unit(3, groups=channels, act=act), point_conv=unit(1)))

    def _bottleneck(self, kind: str, in_channels: int, channels: int, expand: int, stride: int = 1) -> nn.Sequential:
        options = {"expand": expand, "act": self.spec.act_layer, "stride": stride, "norm": self.make_norm}
        return BOTTLENECKS[kind](in_channels, channels, **options)

    def _block(self, kind: str, channels: int, expand: int) -> nn.Module:
        if kind != "attention":
            return residual(self._bottleneck(kind, channels, channels, expand))
        parts = {
            "context_module": residual(MultiScaleAttention(channels, self.spec.head_dim, self.make_norm)),
            "local_module": residual(self._bottleneck("lean", channels, channels, expand)),
        }
        return nn.Sequential(OrderedDict(parts))
