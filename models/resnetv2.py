"""ResNet V2 and Big Transfer: residual blocks with norm and activation before each convolution.

He et al., Identity Mappings in Deep Residual Networks (arXiv:1603.05027); Kolesnikov et al., Big Transfer
(arXiv:1912.11370); Beyer et al., Knowledge distillation: A good teacher is patient and consistent (arXiv:2106.05237).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.resnetv2 import ResNetV2Spec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import InitialValues, Layer, kaiming, normal
from zoo.models.layers.norm_act import NormActFactory, norm_act_factory
from zoo.models.layers.pointwise_classifier import PointwiseClassifier
from zoo.models.layers.pool import shortcut_pool
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.std_conv import StdConv2d

__getattr__ = family_attributes("resnetv2")

KEY_LAYOUTS = ("big_transfer",)

ConvFactory = Callable[..., nn.Conv2d]


def conv_factory(spec: ResNetV2Spec) -> ConvFactory:
    """(in_channels, channels, kernel, stride=1, dilation=1) -> convolution."""
    return partial(StdConv2d, eps=spec.std_eps) if spec.conv_layer == "std" else make_conv


def make_downsample(spec: ResNetV2Spec, place: BlockPlace, conv: ConvFactory) -> nn.Module:
    """The projection of a shortcut: a strided 1x1 convolution, or (D) a 2x2 average and a 1x1 convolution."""
    if not spec.avg_down:
        return nn.Sequential(OrderedDict(conv=conv(place.in_channels, place.channels, 1, place.stride)))
    pool = shortcut_pool(place.stride, place.dilation)
    return nn.Sequential(OrderedDict(pool=pool, conv=conv(place.in_channels, place.channels, 1)))


class PreActBlock(nn.Module):
    """What the blocks share: the sum is not activated, and a projected shortcut starts after the first norm."""

    norm1: nn.Module
    drop_path: nn.Module
    downsample: nn.Module | None

    def branch(self, x: Tensor) -> Tensor:
        """From the normed and activated input to what is added to the shortcut."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        shortcut = x if self.downsample is None else self.downsample(normed)
        return self.drop_path(self.branch(normed)) + shortcut


class PreActBasic(PreActBlock):
    """Two 3x3 convolutions, the first with the stride."""

    def __init__(self, spec: ResNetV2Spec, place: BlockPlace, conv: ConvFactory, norm_act: NormActFactory) -> None:
        super().__init__()
        width = make_divisible(place.channels * spec.bottle_ratio)
        self.downsample = None if place.keeps_shape else make_downsample(spec, place, conv)
        self.norm1 = norm_act(place.in_channels)
        self.conv1 = conv(place.in_channels, width, 3, place.stride, dilation=place.first_dilation)
        self.norm2 = norm_act(width)
        self.conv2 = conv(width, place.channels, 3, dilation=place.dilation)
        self.drop_path = make_drop_path(place.drop_path)

    def branch(self, x: Tensor) -> Tensor:
        return self.conv2(self.norm2(self.conv1(x)))


class PreActBottleneck(PreActBlock):
    """1x1, 3x3 with the stride, 1x1; the first block of a stage always projects its shortcut."""

    def __init__(self, spec: ResNetV2Spec, place: BlockPlace, conv: ConvFactory, norm_act: NormActFactory) -> None:
        super().__init__()
        width = make_divisible(place.channels * spec.bottle_ratio)
        self.downsample = make_downsample(spec, place, conv) if place.opens_stage else None
        self.norm1 = norm_act(place.in_channels)
        self.conv1 = conv(place.in_channels, width, 1)
        self.norm2 = norm_act(width)
        self.conv2 = conv(width, width, 3, place.stride, dilation=place.first_dilation)
        self.norm3 = norm_act(width)
        self.conv3 = conv(width, place.channels, 1)
        self.drop_path = make_drop_path(place.drop_path)

    def branch(self, x: Tensor) -> Tensor:
        return self.conv3(self.norm3(self.conv2(self.norm2(self.conv1(x)))))


def fill_conv(layer: Layer) -> None:
    (normal(0.01) if isinstance(layer, PointwiseClassifier) else kaiming)(layer)


def make_stem(
    spec: ResNetV2Spec, in_chans: int, width: int, conv: ConvFactory, norm_act: NormActFactory
) -> nn.Sequential:
    stem: OrderedDict[str, nn.Module] = OrderedDict()
    if spec.stem_type:
        first, second = width // 2 if spec.stem_type == "deep" else width // 8 * 3, width // 2
        stem["conv1"] = conv(in_chans, first, 3, 2)
        stem["norm1"] = norm_act(first)
        stem["conv2"] = conv(first, second, 3)
        stem["norm2"] = norm_act(second)
        stem["conv3"] = conv(second, width, 3)
    else:
        stem["conv"] = conv(in_chans, width, 7, 2)
    if spec.stem_pad == "zero":
        stem["pad"] = nn.ZeroPad2d(1)
    stem["pool"] = nn.MaxPool2d(3, stride=2, padding=0 if spec.stem_pad == "zero" else 1)
    return nn.Sequential(stem)


class ResNetV2(ConvNet):
    """Stem, four stages, norm, pooling, classifier `head.fc`."""

    spec: ResNetV2Spec
    initial_values = InitialValues(fill_conv, zero_bias=True)
    trunk = ("stem.*", "stages.*")

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        conv, norm_act = conv_factory(spec), norm_act_factory(spec.norm_layer, spec.act_layer)
        width = make_divisible(spec.stem_width * spec.width_factor)
        self.stem = make_stem(spec, self.in_chans, width, conv, norm_act)
        self.add_level(width, 2, "stem.conv3" if spec.stem_type else "stem.conv")
        self.stages = nn.Sequential()
        make_block = partial(
            PreActBasic if spec.block == "basic" else PreActBottleneck, spec, conv=conv, norm_act=norm_act
        )
        channels = [make_divisible(base * spec.width_factor) for base in spec.channels]
        widths = [[width] * depth for width, depth in zip(channels, spec.layers, strict=True)]
        for places in walk_stages(widths, width, 4, output_stride=output_stride, drop_path=drop_path_rate):
            self.feature_info.append(places[-1].level(f"stages.{len(self.stages)}"))
            self.stages.append(nn.Sequential(OrderedDict(blocks=nn.Sequential(*map(make_block, places)))))
        self.num_features = channels[-1]
        self.norm = norm_act(self.num_features)

    def make_classifier(self) -> nn.Module:
        return PointwiseClassifier(self.head_hidden_size, self.num_classes) if self.num_classes else nn.Identity()

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)
