"""DenseNet: Huang et al., Densely Connected Convolutional Networks (arXiv:1608.06993)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.densenet import DenseNetSpec
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.densely_connected import DenselyConnected
from zoo.models.layers.init import InitialValues, kaiming
from zoo.models.layers.norm_act import NormActFactory, norm_act_factory
from zoo.models.layers.pool import antialias_pool

__getattr__ = family_attributes("densenet")

KEY_LAYOUTS = ("torchvision_dotted",)


class DenseLayer(nn.Module):
    """From all maps before it: a 1x1 bottleneck, then a 3x3 that gives `growth_rate` new maps."""

    def __init__(self, spec: DenseNetSpec, norm_act: NormActFactory, in_channels: int, drop_rate: float) -> None:
        super().__init__()
        hidden = spec.bn_size * spec.growth_rate
        self.norm1 = norm_act(in_channels)
        self.conv1 = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.norm2 = norm_act(hidden)
        self.conv2 = nn.Conv2d(hidden, spec.growth_rate, 3, padding=1, bias=False)
        self.drop_rate = drop_rate

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = self.conv1(self.norm1(torch.cat(maps, 1)))
        x = self.conv2(self.norm2(x))
        return F.dropout(x, self.drop_rate, self.training) if self.drop_rate else x


class DenseBlock(DenselyConnected):
    """Layers that each read the block's input and the output of every layer before."""

    def __init__(
        self, spec: DenseNetSpec, norm_act: NormActFactory, in_channels: int, num_layers: int, drop_rate: float
    ) -> None:
        super().__init__()
        for index in range(num_layers):
            layer = DenseLayer(spec, norm_act, in_channels + index * spec.growth_rate, drop_rate)
            self.add_module(f"denselayer{index + 1}", layer)


class Transition(nn.Sequential):
    """Half the channels, half the resolution."""

    def __init__(self, norm_act: NormActFactory, in_channels: int, aa_layer: str) -> None:
        super().__init__()
        channels = in_channels // 2
        self.norm = norm_act(in_channels)
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.pool = antialias_pool(aa_layer or "avg", channels, 2)


class DenseNet(ConvNet):
    """Stem, dense blocks with transitions between them, a norm, pooling, classifier `classifier`.

    `proj_drop_rate` is dropout after each dense layer, `memory_efficient` starts with gradient checkpointing
    (arXiv:1707.06990).
    """

    spec: DenseNetSpec
    initial_values = InitialValues(partial(kaiming, mode="fan_in"), zero_bias=True)

    def build(self, proj_drop_rate: float = 0.0, memory_efficient: bool = False) -> None:
        self.grad_checkpointing = memory_efficient
        norm_act = norm_act_factory(self.spec.norm_layer, self.spec.act_layer)
        self.features = nn.Sequential()
        self._make_stem(self.spec, norm_act, self.in_chans)
        self._make_blocks(self.spec, norm_act, proj_drop_rate)

    def _make_stem(self, spec: DenseNetSpec, norm_act: NormActFactory, in_channels: int) -> None:
        width, unit = 2 * spec.growth_rate, spec.growth_rate // 4
        widths = {
            "": (width,),
            "deep": (spec.growth_rate, spec.growth_rate, width),
            "deep_tiered": (3 * unit, 6 * unit, width),
        }[spec.stem_type]
        kernel = 3 if spec.stem_type else 7
        for index, channels in enumerate(widths):
            stride = 2 if index == 0 else 1
            conv = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, bias=False)
            self.features.add_module(f"conv{index}", conv)
            self.features.add_module(f"norm{index}", norm_act(channels))
            in_channels = channels
        self.add_level(width, 2, f"features.norm{len(widths) - 1}")
        pool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        if spec.aa_layer:
            pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), antialias_pool(spec.aa_layer, width, 2))
        self.features.add_module("pool0", pool)

    def _make_blocks(self, spec: DenseNetSpec, norm_act: NormActFactory, drop_rate: float) -> None:
        channels, last = self.feature_info[0]["num_chs"], len(spec.block_config)
        for number, num_layers in enumerate(spec.block_config, start=1):
            block = DenseBlock(spec, norm_act, channels, num_layers, drop_rate)
            self.features.add_module(f"denseblock{number}", block)
            channels += num_layers * spec.growth_rate
            # Checkpoints call the last norm so whatever the number of blocks.
            self.add_level(
                channels, 2 ** (number + 1), f"features.{'norm5' if number == last else f'denseblock{number}'}"
            )
            if number < last:
                aa_layer = "" if spec.aa_stem_only else spec.aa_layer
                self.features.add_module(f"transition{number}", Transition(norm_act, channels, aa_layer))
                channels //= 2
        self.features.add_module("norm5", norm_act(channels))
        self.num_features = channels

    def steps(self) -> Iterator[tuple[str, Step]]:
        return self.steps_by_level("features")
