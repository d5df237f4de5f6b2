"""Networks without normalisation layers: NF-ResNet, NF-RegNet, NFNet-F and the light NFNets.

Brock et al., Characterizing signal propagation to close the performance gap in unnormalized ResNets
(arXiv:2101.08692); Brock et al., High-Performance Large-Scale Image Recognition Without Normalization
(arXiv:2102.06171); De and Smith, SkipInit (arXiv:2002.10444).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.nfnet import NfNetSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import make_attention
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.gain_activation import GainActivation, variance_gain
from zoo.models.layers.init import KAIMING_FAN_IN
from zoo.models.layers.pool import shortcut_pool
from zoo.models.layers.stages import BlockPlace, walk_stages
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
        kind = self.spec.attn_layer
        return make_attention(kind, channels, ratio=self.spec.attn_ratio) if kind else None


class NormFreeBlock(nn.Module):
    """Pre-activation bottleneck: `shortcut(h) + alpha * branch(h)` with `h = act(x) / deviation of x`.

    Where nothing is projected the shortcut is x itself. `deviation` is the one expected of x.
    """

    def __init__(self, style: Style, place: BlockPlace, deviation: float) -> None:
        super().__init__()
        spec, channels = style.spec, place.channels
        # The first block of an NF-RegNet does not expand.
        ratio = 1.0 if spec.reg and place.stage == place.position == 0 else spec.bottle_ratio
        width = make_divisible((place.in_channels if spec.reg else channels) * ratio)
        groups = width // spec.group_size if spec.group_size else 1
        if spec.group_size and spec.group_size % 8 == 0:
            width = groups * spec.group_size
        self.alpha, self.beta, self.attn_gain = spec.alpha, 1 / deviation, spec.attn_gain
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


class NormFreeNet(ConvNet):
    """Stem, four stages, an optional 1x1 convolution, activation, pooling, classifier `head.fc`."""

    spec: NfNetSpec
    initial_values = KAIMING_FAN_IN
    trunk: tuple[str, ...] = ("stem.*", "stages.*")

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        style = Style(spec)
        self.stem = make_stem(style, self.in_chans)
        deep = spec.stem_type == "deep_quad"
        self.add_level(spec.stem_channels // (2 if deep else 1), 2, "stem.conv3" if deep else "stem.conv")
        self.stages = nn.Sequential()
        widths = [[spec.round_channels(c)] * depth for c, depth in zip(spec.channels, spec.depths, strict=True)]
        reduction, variance = 2 if spec.stem_type == "3x3" else 4, 1.0
        for places in walk_stages(
            widths, spec.stem_channels, reduction, output_stride=output_stride, drop_path=drop_path_rate
        ):
            stage = nn.Sequential()
            for place in places:
                stage.append(NormFreeBlock(style, place, variance**0.5))
                # A projected shortcut starts from variance 1 again; each branch then adds alpha squared.
                variance = (1.0 if place.opens_stage else variance) + spec.alpha**2
            self.feature_info.append(places[-1].level(f"stages.{len(self.stages)}"))
            self.stages.append(stage)
        self.num_features = channels = self.feature_info[-1]["num_chs"]
        self.final_conv: nn.Module = nn.Identity()
        if spec.num_features:
            self.num_features = spec.round_channels(spec.num_features)
            self.final_conv = style.conv(channels, self.num_features, 1)
            self.feature_info[-1] |= {"num_chs": self.num_features, "module": "final_conv"}
            self.trunk = (*self.trunk, "final_conv")
        self.final_act = style.act()

    def finish(self, x: Tensor) -> Tensor:
        return self.final_act(x)
