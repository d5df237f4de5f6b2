"""Networks without normalisation layers: NF-ResNet, NF-RegNet, NFNet-F and the light NFNets.

Brock et al., Characterizing signal propagation to close the performance gap in unnormalized ResNets
(arXiv:2101.08692); Brock et al., High-Performance Large-Scale Image Recognition Without Normalization
(arXiv:2102.06171); De and Smith, SkipInit (arXiv:2002.10444).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.nfnet import NfNetSpec
from zoo.models.base import Step
from zoo.models.conv_net import DilatedConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import EfficientChannelAttention, SqueezeExcite
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.gain_activation import GainActivation, variance_gain
from zoo.models.layers.pool import shortcut_pool
from zoo.models.layers.std_conv import ScaledStdConv2d

__getattr__ = family_attributes("nfnet")


class Style:
    """The convolutions, activations and attention that all parts of a network share."""

    def __init__(self, spec: NfNetSpec) -> None:
        self.spec = spec
        # The variance that an activation takes away is given back by the next weights, or by the activation itself.
        self.conv: Callable[..., ScaledStdConv2d] = partial(
            ScaledStdConv2d,
            eps=1e-5,
            pad_type="same" if spec.same_padding else "",
            scale=1.0 if spec.gamma_in_act else variance_gain(spec.act_layer),
        )

    def act(self, inplace: bool = False) -> nn.Module:
        make = GainActivation if self.spec.gamma_in_act else make_activation
        return make(self.spec.act_layer, inplace)

    def attention(self, channels: int) -> nn.Module | None:
        if self.spec.attn_layer == "se":
            return SqueezeExcite(channels, self.spec.attn_ratio)
        return EfficientChannelAttention(channels) if self.spec.attn_layer == "eca" else None


@dataclass(frozen=True)
class BlockPlace:
    """Where in the network a block stands.

    `first_dilation` is the dilation of its strided convolution: that of the stage before, where `output_stride` turned
    a stride into dilation. `deviation` is the expected standard deviation of its input, `drop_path` the rate of
    stochastic depth.
    """

    in_channels: int
    channels: int
    bottle_ratio: float
    stride: int
    dilation: int
    first_dilation: int
    deviation: float
    drop_path: float

    @property
    def keeps_shape(self) -> bool:
        same_channels = self.in_channels == self.channels
        return same_channels and self.stride == 1 and self.dilation == self.first_dilation


class NormFreeBlock(nn.Module):
    """Pre-activation bottleneck: `shortcut(h) + alpha * branch(h)` with `h = act(x) / deviation of x`.

    Where nothing is projected the shortcut is x itself.
    """

    def __init__(self, style: Style, place: BlockPlace) -> None:
        super().__init__()
        spec, channels = style.spec, place.channels
        width = make_divisible((place.in_channels if spec.reg else channels) * place.bottle_ratio)
        groups = width // spec.group_size if spec.group_size else 1
        if spec.group_size and spec.group_size % 8 == 0:
            width = groups * spec.group_size
        self.alpha, self.beta, self.attn_gain = spec.alpha, 1 / place.deviation, spec.attn_gain
        self.downsample = None if place.keeps_shape else self._projection(style, place)
        self.act1 = style.act()
        self.conv1 = style.conv(place.in_channels, width, 1)
        self.act2 = style.act(inplace=True)
        self.conv2 = style.conv(width, width, 3, place.stride, dilation=place.first_dilation, groups=groups)
        self.act2b = style.act(inplace=True) if spec.extra_conv else nn.Identity()
        self.conv2b = (
            style.conv(width, width, 3, dilation=place.dilation, groups=groups) if spec.extra_conv else nn.Identity()
        )
        self.attn = style.attention(width) if spec.reg else None
        self.act3 = style.act()
        self.conv3 = style.conv(width, channels, 1, gain_init=1.0 if spec.skipinit else 0.0)
        self.attn_last = None if spec.reg else style.attention(channels)
        self.drop_path = make_drop_path(place.drop_path)
        self.skipinit_gain = nn.Parameter(torch.empty(())) if spec.skipinit else None

    @staticmethod
    def _projection(style: Style, place: BlockPlace) -> nn.Module:
        pool = shortcut_pool(place.stride, place.dilation)
        return nn.Sequential(OrderedDict(pool=pool, conv=style.conv(place.in_channels, place.channels, 1)))

    def reset_parameters(self) -> None:
        if self.skipinit_gain is not None:
            nn.init.zeros_(self.skipinit_gain)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act1(x) * self.beta
        shortcut = x if self.downsample is None else self.downsample(h)
        h = self.conv2(self.act2(self.conv1(h)))
        h = self.conv2b(self.act2b(h))
        if self.attn is not None:
            h = self.attn_gain * self.attn(h)
        h = self.conv3(self.act3(h))
        if self.attn_last is not None:
            h = self.attn_gain * self.attn_last(h)
        h = self.drop_path(h)
        if self.skipinit_gain is not None:
            h = h * self.skipinit_gain
        return h * self.alpha + shortcut


def make_stem(style: Style, in_chans: int) -> nn.Sequential:
    spec, width = style.spec, style.spec.stem_channels
    if spec.stem_type == "3x3":
        return nn.Sequential(OrderedDict(conv=style.conv(in_chans, width, 3, 2)))
    if spec.stem_type == "7x7_pool":
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        return nn.Sequential(OrderedDict(conv=style.conv(in_chans, width, 7, 2), pool=pool))
    stem: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (divisor, stride) in enumerate([(8, 2), (4, 1), (2, 1), (1, 2)], 1):
        if number > 1:
            stem[f"act{number}"] = style.act()
        stem[f"conv{number}"] = style.conv(in_chans, width // divisor, 3, stride)
        in_chans = width // divisor
    return nn.Sequential(stem)


class NormFreeNet(DilatedConvNet):
    """Stem, four stages, an optional 1x1 convolution, activation, pooling, classifier `head.fc`."""

    spec: NfNetSpec

    def build(self, output_stride: int, drop_path_rate: float) -> None:
        spec, in_chans = self.spec, self.in_chans
        style = Style(spec)
        self.stem = make_stem(style, in_chans)
        deep = spec.stem_type == "deep_quad"
        width = spec.stem_channels // 2 if deep else spec.stem_channels
        self.feature_info = [{"num_chs": width, "reduction": 2, "module": "stem.conv3" if deep else "stem.conv"}]
        self.stages = nn.Sequential()
        for places in self._places(spec, output_stride, drop_path_rate):
            self.stages.append(nn.Sequential(*(NormFreeBlock(style, place) for place in places)))
        channels = self.feature_info[-1]["num_chs"]
        self.num_features = spec.round_channels(spec.num_features) if spec.num_features else channels
        if spec.num_features:
            self.final_conv: nn.Module = style.conv(channels, self.num_features, 1)
            self.feature_info[-1] |= {"num_chs": self.num_features, "module": "final_conv"}
        else:
            self.final_conv = nn.Identity()
        self.final_act = style.act()

    def _places(self, spec: NfNetSpec, output_stride: int, drop_path_rate: float) -> Iterator[list[BlockPlace]]:
        """The places of the blocks of each stage; adds the stage to `feature_info`."""
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.depths)))
        in_channels, dilation, variance = spec.stem_channels, 1, 1.0
        reduction = 2 if spec.stem_type == "3x3" else 4
        for index, (depth, base_channels) in enumerate(zip(spec.depths, spec.channels, strict=True)):
            channels, first_dilation = spec.round_channels(base_channels), dilation
            stride = 1 if index == 0 and reduction == 4 else 2
            if reduction * stride > output_stride:
                dilation, stride = dilation * stride, 1
            reduction *= stride
            places = []
            for position in range(depth):
                # The first block of an NF-RegNet does not expand.
                ratio = 1.0 if spec.reg and index == position == 0 else spec.bottle_ratio
                places.append(
                    BlockPlace(
                        in_channels, channels, ratio, stride, dilation, first_dilation, variance**0.5, next(rates)
                    )
                )
                # A projected shortcut starts from variance 1 again; each branch then adds alpha squared.
                variance = (1.0 if position == 0 else variance) + spec.alpha**2
                in_channels, stride, first_dilation = channels, 1, dilation
            self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": f"stages.{index}"})
            yield places

    def steps(self) -> Iterator[tuple[str, Step]]:
        for part in ("stem", "stages"):
            for name, module in self.get_submodule(part).named_children():
                yield f"{part}.{name}", module
        if self.spec.num_features:
            yield "final_conv", self.final_conv

    def finish(self, x: Tensor) -> Tensor:
        return self.final_act(x)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="linear")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
