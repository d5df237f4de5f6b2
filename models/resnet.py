"""ResNet and its relatives: ResNeXt, SE-ResNet, SENet, ECA-ResNet, ResNet-C/D/S/T, ResNet-RS, anti-aliased ResNet.

He et al. (arXiv:1512.03385); Xie et al., ResNeXt (arXiv:1611.05431); Hu et al., SENet (arXiv:1709.01507); He et al.,
Bag of Tricks: the C and D stems and shortcuts (arXiv:1812.01187); Bello et al., ResNet-RS (arXiv:2103.07579).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.resnet import ResNetSpec
from zoo.core.errors import UsageError
from zoo.models.base import ImageModel, Step, check_output_stride
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import EfficientChannelAttention, SqueezeExcite
from zoo.models.layers.conv_same import symmetric_padding
from zoo.models.layers.drop import DropBlock2d, drop_path_schedule, make_drop_path
from zoo.models.layers.norm import NormFactory, norm_factory
from zoo.models.layers.pool import BlurPool2d, antialias_pool, shortcut_pool

__getattr__ = family_attributes("resnet")


def conv3x3(in_channels: int, channels: int, stride: int = 1, dilation: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, 3, stride, padding=dilation, dilation=dilation, groups=groups, bias=False)


def make_attention(spec: ResNetSpec, channels: int) -> nn.Module | None:
    if spec.attn_layer == "se":
        return SqueezeExcite(channels, ratio=spec.se_ratio)
    return EfficientChannelAttention(channels) if spec.attn_layer == "eca" else None


@dataclass(frozen=True)
class BlockPlace:
    """Where in the network a block stands: what distinguishes it from others of the same spec.

    `first_dilation` is the dilation of its strided convolution: that of the stage before, where `output_stride` turned
    a stride into dilation. `drop_path` is the rate of stochastic depth, `downsample` the projection of the shortcut.
    """

    in_channels: int
    channels: int
    stride: int
    dilation: int
    first_dilation: int
    drop_path: float
    drop_block: nn.Module
    downsample: nn.Module | None


class ResidualBlock(nn.Module):
    """What basic and bottleneck blocks share: `act(x + shortcut(x))` with attention and stochastic depth."""

    expansion: ClassVar[int]
    name: ClassVar[str]
    last_norm: ClassVar[str]

    def __init__(self, spec: ResNetSpec, place: BlockPlace) -> None:
        super().__init__()
        self.norm = norm_factory(spec.norm_layer)
        self.act = partial(make_activation, spec.act_layer)
        self.stride = place.stride
        self.antialias = spec.aa_layer if place.stride == 2 or place.first_dilation != place.dilation else ""
        self.out_channels = place.channels * self.expansion

    @property
    def conv_stride(self) -> int:
        return 1 if self.antialias else self.stride

    def close(self, spec: ResNetSpec, place: BlockPlace) -> None:
        """Register the modules that follow the convolutions, in the order of the published keys."""
        self.se = make_attention(spec, self.out_channels)
        self.downsample = place.downsample
        self.drop_path = make_drop_path(place.drop_path)

    def add_shortcut(self, x: Tensor, shortcut: Tensor) -> Tensor:
        if self.se is not None:
            x = self.se(x)
        x = self.drop_path(x)
        if self.downsample is not None:
            shortcut = self.downsample(shortcut)
        x += shortcut
        return x

    def antialiased(self, channels: int) -> nn.Module:
        return antialias_pool(self.antialias, channels, self.stride) if self.antialias else nn.Identity()


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions."""

    expansion = 1
    name = "basic"
    last_norm = "bn2"

    def __init__(self, spec: ResNetSpec, place: BlockPlace) -> None:
        super().__init__(spec, place)
        if spec.cardinality != 1 or spec.base_width != 64:
            raise UsageError("A basic block has neither groups nor a base width: use bottleneck blocks for these.")
        hidden = place.channels // spec.block_reduce_first
        self.conv1 = conv3x3(place.in_channels, hidden, self.conv_stride, place.first_dilation)
        self.bn1 = self.norm(hidden)
        self.drop_block = place.drop_block
        self.act1 = self.act()
        self.aa = self.antialiased(hidden)
        self.conv2 = conv3x3(hidden, self.out_channels, 1, place.dilation)
        self.bn2 = self.norm(self.out_channels)
        self.act2 = self.act()
        self.close(spec, place)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.aa(self.act1(self.drop_block(self.bn1(self.conv1(x)))))
        x = self.bn2(self.conv2(x))
        return self.act2(self.add_shortcut(x, shortcut))


class Bottleneck(ResidualBlock):
    """1x1, 3x3 (grouped in ResNeXt), 1x1 to four times the width; the stride is on the 3x3."""

    expansion = 4
    name = "bottleneck"
    last_norm = "bn3"

    def __init__(self, spec: ResNetSpec, place: BlockPlace) -> None:
        super().__init__(spec, place)
        width = place.channels * spec.base_width // 64 * spec.cardinality
        hidden = width // spec.block_reduce_first
        self.conv1 = nn.Conv2d(place.in_channels, hidden, 1, bias=False)
        self.bn1 = self.norm(hidden)
        self.act1 = self.act()
        self.conv2 = conv3x3(hidden, width, self.conv_stride, place.first_dilation, spec.cardinality)
        self.bn2 = self.norm(width)
        self.drop_block = place.drop_block
        self.act2 = self.act()
        self.aa = self.antialiased(width)
        self.conv3 = nn.Conv2d(width, self.out_channels, 1, bias=False)
        self.bn3 = self.norm(self.out_channels)
        self.act3 = self.act()
        self.close(spec, place)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.aa(self.act2(self.drop_block(self.bn2(self.conv2(x)))))
        x = self.bn3(self.conv3(x))
        return self.act3(self.add_shortcut(x, shortcut))


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {b.name: b for b in (BasicBlock, Bottleneck)}


def make_downsample(
    spec: ResNetSpec, in_channels: int, channels: int, stride: int, dilation: int, first_dilation: int
) -> nn.Sequential:
    """The projection of a shortcut: a strided convolution, or (D) a 2x2 average and a 1x1 convolution."""
    norm = norm_factory(spec.norm_layer)
    if spec.avg_down:
        conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        return nn.Sequential(shortcut_pool(stride, dilation), conv, norm(channels))
    kernel = 1 if stride == 1 and dilation == 1 else spec.down_kernel_size
    spread = first_dilation if kernel > 1 else 1
    padding = symmetric_padding(kernel, stride, spread)
    conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, dilation=spread, bias=False)
    return nn.Sequential(conv, norm(channels))


class ResNet(ImageModel):
    """Stem, four stages of residual blocks, pooling, classifier `fc`.

    Built from a spec, or from a block class and layer counts as in `ResNet(BasicBlock, layers=[3, 4, 6, 3])`; further
    fields of ResNetSpec are then keywords.

    Args:
        block: a ResNetSpec, or BasicBlock, Bottleneck.
        layers: blocks per stage, with a block class.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        output_stride: 32, 16 or 8; smaller ones replace strides by dilation.
        global_pool: avg, max, avgmax, catavgmax, or '' with num_classes=0.
        drop_rate, drop_path_rate, drop_block_rate: dropout before the classifier, stochastic depth of the last
            block, DropBlock rate of the last two stages.
    """

    def __init__(
        self,
        block: ResNetSpec | type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, ...] | list[int] | None = None,
        num_classes: int = 1000,
        in_chans: int = 3,
        output_stride: int = 32,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        drop_block_rate: float = 0.0,
        **spec_fields: Any,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        check_output_stride(output_stride)
        if isinstance(block, ResNetSpec):
            spec = block
        else:
            # The dataclass refuses a field that it does not have.
            spec = ResNetSpec(block=block.name, layers=tuple(layers or ()), **spec_fields)
        self.spec = spec
        self._make_stem(spec, in_chans)
        self._make_stages(spec, output_stride, drop_path_rate, drop_block_rate)
        self.make_head(global_pool)

    def _make_stem(self, spec: ResNetSpec, in_chans: int) -> None:
        norm = norm_factory(spec.norm_layer)
        if spec.stem_type:
            first = spec.stem_width // 4 * 3 if spec.stem_type == "deep_tiered" else spec.stem_width
            width = spec.stem_width * 2
            self.conv1: nn.Module = nn.Sequential(
                conv3x3(in_chans, first, stride=2),
                norm(first),
                make_activation(spec.act_layer),
                conv3x3(first, spec.stem_width),
                norm(spec.stem_width),
                make_activation(spec.act_layer),
                conv3x3(spec.stem_width, width),
            )
        else:
            width = 64
            self.conv1 = nn.Conv2d(in_chans, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(width)
        self.act1 = make_activation(spec.act_layer)
        self.feature_info = [{"num_chs": width, "reduction": 2, "module": "act1"}]
        self.maxpool = self._make_stem_pool(spec, norm, width)

    @staticmethod
    def _make_stem_pool(spec: ResNetSpec, norm: NormFactory, width: int) -> nn.Module:
        if spec.replace_stem_pool:
            parts: list[nn.Module] = [conv3x3(width, width, stride=1 if spec.aa_layer else 2)]
            if spec.aa_layer:
                parts.append(antialias_pool(spec.aa_layer, width, 2))
            return nn.Sequential(*parts, norm(width), make_activation(spec.act_layer))
        if spec.aa_layer == "avg":
            return nn.AvgPool2d(2)
        if spec.aa_layer == "blur":
            return nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), BlurPool2d(width))
        return nn.MaxPool2d(3, stride=2, padding=1)

    def _make_stages(self, spec: ResNetSpec, output_stride: int, drop_path_rate: float, drop_block_rate: float) -> None:
        in_channels = self.feature_info[0]["num_chs"]
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.layers)))
        reduction, dilation, first_dilation = 4, 1, 1
        for index, (num_blocks, channels) in enumerate(zip(spec.layers, spec.channels, strict=True)):
            make_block = BLOCKS[spec.block if isinstance(spec.block, str) else spec.block[index]]
            stride = 1 if index == 0 else 2
            if reduction * stride > output_stride:
                dilation, stride = dilation * stride, 1
            reduction *= stride
            out_channels = channels * make_block.expansion
            blocks = []
            for position in range(num_blocks):
                downsample = None
                if position == 0 and (stride != 1 or in_channels != out_channels):
                    downsample = make_downsample(spec, in_channels, out_channels, stride, dilation, first_dilation)
                place = BlockPlace(
                    in_channels,
                    channels,
                    stride=stride if position == 0 else 1,
                    dilation=dilation,
                    first_dilation=first_dilation,
                    drop_path=next(rates),
                    drop_block=_drop_block(index, drop_block_rate),
                    downsample=downsample,
                )
                blocks.append(make_block(spec, place))
                in_channels, first_dilation = out_channels, dilation
            name = f"layer{index + 1}"
            self.add_module(name, nn.Sequential(*blocks))
            self.feature_info.append({"num_chs": out_channels, "reduction": reduction, "module": name})
        self.num_features = in_channels

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "act1", lambda x: self.act1(self.bn1(self.conv1(x)))
        yield "maxpool", self.maxpool
        yield "layer1", self.layer1
        yield "layer2", self.layer2
        yield "layer3", self.layer3
        yield "layer4", self.layer4

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, ResidualBlock) and self.spec.zero_init_last:
            # Each branch starts as zero, so the network as the identity (arXiv:1706.02677, section 5.1).
            nn.init.zeros_(module.get_parameter(f"{module.last_norm}.weight"))


def _drop_block(stage: int, rate: float) -> nn.Module:
    if not rate or stage < 2:
        return nn.Identity()
    return DropBlock2d(rate, 5, gamma_scale=0.25) if stage == 2 else DropBlock2d(rate, 3)
