"""ReXNet: Han et al., Rethinking Channel Dimensions for Efficient Model Design (arXiv:2007.00992)."""

from __future__ import annotations

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.rexnet import STRIDES, RexNetSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.conv_norm_act import ConvFactory, conv_factory
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import InitialValues, grouped_fan_out, uniform_fan_out
from zoo.models.layers.norm_act import BatchNormAct2d
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("rexnet")

EXPANSION = 6


class NormedSqueezeExcite(SqueezeExcite):
    """Squeeze-and-excitation with a norm between its layers."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(channels, act="identity", hidden=hidden)
        self.bn = BatchNormAct2d(hidden, "relu")

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True)
        return x * self.fc2(self.bn(self.fc1(pooled))).sigmoid()


class ChannelPad(nn.Module):
    """The shortcut to more channels: the others are zero."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, 0, self.extra)) if self.extra else x


def linear_bottleneck(spec: RexNetSpec, conv: ConvFactory, place: BlockPlace) -> ResidualBlock:
    """Expansion, depthwise convolution, attention, projection; only the first stage does not expand."""
    in_channels, channels, expands = place.in_channels, place.channels, place.stage > 0
    width = spec.rounded(EXPANSION * in_channels) if expands else in_channels
    hidden = spec.rounded(int(width * spec.se_ratio))
    has_shortcut = place.stride == 1 and place.first_dilation == place.dilation and in_channels <= channels
    parts = {
        **({"conv_exp": conv(in_channels, width)} if expands else {}),
        "conv_dw": conv(width, width, 3, place.stride, dilation=place.first_dilation, groups=width, act="identity"),
        "se": NormedSqueezeExcite(width, hidden) if spec.se_ratio and place.stage > 1 else nn.Identity(),
        "act_dw": make_activation(spec.dw_act_layer),
        "conv_pwl": conv(width, channels, act="identity"),
        "drop_path": make_drop_path(place.drop_path if has_shortcut else 0.0),
        "shortcut": ChannelPad(channels - in_channels) if has_shortcut else None,
    }
    return ResidualBlock(parts, shortcut="shortcut")


class RexNet(ConvNet):
    """Stem, bottlenecks in one row `features` with a 1x1 convolution at its end, pooling, classifier `head.fc`."""

    spec: RexNetSpec
    initial_values = InitialValues(grouped_fan_out, uniform_fan_out, zero_bias=True)
    default_drop_rate = 0.2
    trunk = ("stem", "features.*")

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        conv = conv_factory("batchnorm", spec.act_layer)
        stem_channels = spec.rounded(spec.outer_channels(32))
        self.stem = conv(self.in_chans, stem_channels, 3, 2)
        walk = walk_stages(
            spec.stages(), stem_channels, 2, strides=STRIDES, output_stride=output_stride, drop_path=drop_path_rate
        )
        blocks: list[nn.Module] = []
        level = {"num_chs": stem_channels, "reduction": 2, "module": "stem"}
        for stride, places in zip(STRIDES, walk, strict=True):
            if stride > 1:
                self.feature_info.append(level)
            blocks += (linear_bottleneck(spec, conv, place) for place in places)
            level = places[-1].level(f"features.{len(blocks) - 1}")
        self.feature_info.append(level)
        self.num_features = spec.rounded(1280 * spec.width_mult)
        self.features = nn.Sequential(*blocks, conv(level["num_chs"], self.num_features))
