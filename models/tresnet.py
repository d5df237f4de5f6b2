"""TResNet: Ridnik et al., High Performance GPU-Dedicated Architecture (arXiv:2003.13630)."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.tresnet import TResNetSpec
from zoo.models.base import Step, in_sequence
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.channel_attention import make_attention
from zoo.models.layers.conv_norm_act import conv_factory
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import InitialValues, kaiming, normal
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.space_to_depth import SpaceToDepth
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("tresnet")

# The authors have a leaky ReLU within blocks, with a slope smaller than usual, and a plain one after them.
conv = conv_factory("batchnorm", "leaky_relu_0.001")


def make_downsample(place: BlockPlace) -> nn.Module:
    """The shortcut; where it projects, the average of 2x2 pixels, then a 1x1 convolution."""
    if place.keeps_shape:
        return nn.Identity()
    pool = [nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)] if place.stride == 2 else []
    return nn.Sequential(*pool, conv(place.in_channels, place.channels, act="identity"))


def basic_block(place: BlockPlace) -> ResidualBlock:
    """Two 3x3 convolutions, then attention."""
    channels = place.channels
    parts = {
        "downsample": make_downsample(place),
        "conv1": conv(place.in_channels, channels, 3, place.stride, aa_layer="blur"),
        "conv2": conv(channels, channels, 3, act="identity"),
        "se": make_attention(attention_kind(place), channels, hidden=max(channels // 4, 64)),
        "drop_path": make_drop_path(place.drop_path),
        "act": nn.ReLU(inplace=True),
    }
    return ResidualBlock(parts, last_norm="conv2.bn")


def bottleneck(place: BlockPlace) -> ResidualBlock:
    """1x1, 3x3, attention, 1x1 to four times the width."""
    width = place.channels // 4
    parts = {
        "downsample": make_downsample(place),
        "conv1": conv(place.in_channels, width),
        "conv2": conv(width, width, 3, place.stride, aa_layer="blur"),
        "se": make_attention(attention_kind(place), width, hidden=max(place.channels // 8, 64)),
        "conv3": conv(width, place.channels, act="identity"),
        "drop_path": make_drop_path(place.drop_path),
        "act": nn.ReLU(inplace=True),
    }
    return ResidualBlock(parts, last_norm="conv3.bn")


def attention_kind(place: BlockPlace) -> str:
    """The last stage has none."""
    return "se" if place.stage < 3 else ""


class TResNet(ConvNet):
    """Space to depth, a 3x3 convolution, four stages of residual blocks, pooling, classifier `head.fc`.

    Strides within a branch are anti-aliased. The height and width of an image are multiples of 4.
    """

    spec: TResNetSpec
    initial_values = InitialValues(kaiming, normal(0.01))
    # The first level has the same stride as the second.
    default_out_indices = (1, 2, 3, 4)
    trunk = ("body.layer1", "body.layer2", "body.layer3", "body.layer4")

    def build(self, drop_path_rate: float = 0.0) -> None:
        spec, width = self.spec, self.spec.width
        stem = conv(16 * self.in_chans, width, 3, act="leaky_relu")
        self.body = nn.Sequential(OrderedDict(s2d=SpaceToDepth(4), conv1=stem))
        self.add_level(width, 4, "body.conv1")
        basic = [stage < 2 and not spec.v2 for stage in range(4)]
        widths = [[width * 2**i * (1 if basic[i] else 4)] * depth for i, depth in enumerate(spec.layers)]
        for places in walk_stages(widths, width, 4, drop_path=drop_path_rate):
            last = places[-1]
            name, make_block = f"layer{last.stage + 1}", basic_block if basic[last.stage] else bottleneck
            self.body.add_module(name, nn.Sequential(*map(make_block, places)))
            self.feature_info.append(last.level(f"body.{name}"))
        self.num_features = widths[-1][-1]

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "body.conv1", in_sequence(list(self.body.children())[:2])
        yield from super().steps()


# The authors' convolutions and norms are entries of sequences, which have one more level where there is a pooling.
_SEQUENCES = re.compile(r"(conv\d+|downsample\.\d+)(?:\.0)?\.([01])\.(?=\w+$)")


def repair_keys(state_dict: MutableMapping[str, Tensor], model: nn.Module) -> MutableMapping[str, Tensor]:  # noqa: ARG001 - the call has both
    """Rename the layers of the authors' own files.

    Their norms are in-place activated (arXiv:1712.02616), which scale by `abs(weight) + eps`.
    """
    if "body.conv1.conv.weight" in state_dict:
        return state_dict
    repaired: MutableMapping[str, Tensor] = {}
    for key, value in state_dict.items():
        key = _SEQUENCES.sub(lambda found: f"{found[1]}.{('conv', 'bn')[int(found[2])]}.", key)
        repaired[key] = value.abs() + 1e-5 if key.endswith("bn.weight") else value
    return repaired
