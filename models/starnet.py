"""StarNet: Ma et al., Rewrite the Stars (arXiv:2403.19967)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.starnet import StarNetSpec
from zoo.models.base import Step, in_sequence
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import InitialValues, truncated_normal
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("starnet")

STEM_WIDTH = 32


def conv_norm(
    in_channels: int, channels: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, norm: bool = True
) -> nn.Sequential:
    """A convolution with bias and, where `norm` says so, a norm."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv"] = make_conv(in_channels, channels, kernel, stride, groups=groups, bias=True)
    if norm:
        layers["bn"] = nn.BatchNorm2d(channels)
    return nn.Sequential(layers)


class StarBlock(nn.Module):
    """The star operation: two linear maps of the channels, one of them activated, are multiplied (figure 3)."""

    def __init__(self, spec: StarNetSpec, place: BlockPlace) -> None:
        super().__init__()
        channels, hidden = place.channels, spec.mlp_ratio * place.channels
        self.dwconv = conv_norm(channels, channels, 7, groups=channels)
        self.f1 = conv_norm(channels, hidden, norm=False)
        self.f2 = conv_norm(channels, hidden, norm=False)
        self.g = conv_norm(hidden, channels)
        self.dwconv2 = conv_norm(channels, channels, 7, groups=channels, norm=False)
        self.act = make_activation(spec.act_layer)
        self.drop_path = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.dwconv(x)
        star = self.act(self.f1(mixed)) * self.f2(mixed)
        return x + self.drop_path(self.dwconv2(self.g(star)))


class StarNet(ConvNet):
    """Stem, stages that start with a strided convolution, a norm, pooling, classifier `head`."""

    spec: StarNetSpec
    initial_values = InitialValues(truncated_normal(0.02), truncated_normal(0.02))
    trunk = ("stages.*",)

    def build(self, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        self.stem = nn.Sequential(conv_norm(self.in_chans, STEM_WIDTH, 3, 2), make_activation(spec.act_layer))
        self.stages = nn.Sequential()
        widths = [[spec.base_dim * 2**stage] * depth for stage, depth in enumerate(spec.depths)]
        for places in walk_stages(widths, STEM_WIDTH, 2, drop_path=drop_path_rate):
            first, last = places[0], places[-1]
            down = conv_norm(first.in_channels, first.channels, 3, first.stride)
            self.stages.append(nn.Sequential(down, *(StarBlock(spec, place) for place in places)))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
        self.num_features = widths[-1][0]
        self.norm = nn.BatchNorm2d(self.num_features)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "stem", in_sequence([self.stem])  # as one part: its activation works in place
        yield from super().steps()

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
