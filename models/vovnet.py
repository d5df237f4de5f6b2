"""VoVNet: Lee et al. (arXiv:1904.09730); version 2 of Lee and Park, CenterMask (arXiv:1911.06667)."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.vovnet import VovNetSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.channel_attention import make_attention
from zoo.models.layers.conv_norm_act import conv_factory
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import KAIMING_UNBIASED
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.one_shot import OneShotChain
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("vovnet")


class ReducedBlock(ResidualBlock):
    """A block whose chain starts with fewer channels than the block's input, which is aggregated as it is."""

    conv_reduction: nn.Module
    conv_mid: OneShotChain

    def branch(self, x: Tensor) -> Tensor:
        x = self.conv_mid(x, self.conv_reduction(x))
        for name in self.in_order[2:]:
            x = getattr(self, name)(x)
        return x


class VovNet(ConvNet):
    """Stem, four stages of one-shot aggregation, pooling, classifier `head.fc`."""

    spec: VovNetSpec
    initial_values = KAIMING_UNBIASED
    trunk = ("stem.*", "stages.*")

    def build(self, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        conv = conv_factory(spec.norm_layer, spec.act_layer)
        first, second, third = spec.stem_chs
        self.stem = nn.Sequential(
            conv(self.in_chans, first, 3, 2), self.make_conv3(first, second), self.make_conv3(second, third, 2)
        )
        self.add_level(second, 2, "stem.1")
        widths = [[width] * depth for width, depth in zip(spec.stage_out_chs, spec.block_per_stage, strict=True)]
        self.stages = nn.Sequential()
        for places in walk_stages(widths, third, 4, drop_path=drop_path_rate):
            # Rounded up, but not padded: the last window may be cut off.
            pool = nn.MaxPool2d(3, 2, ceil_mode=True) if places[0].stride > 1 else nn.Identity()
            blocks = nn.Sequential(*(self.make_block(place, is_last=place is places[-1]) for place in places))
            self.feature_info.append(places[-1].level(f"stages.{len(self.stages)}"))
            self.stages.append(nn.Sequential(OrderedDict(pool=pool, blocks=blocks)))
        self.num_features = spec.stage_out_chs[-1]

    def make_conv3(self, in_channels: int, channels: int, stride: int = 1) -> nn.Module:
        """A 3x3 convolution with norm and activation, depthwise and pointwise where the spec says so."""
        spec = self.spec
        if not spec.depthwise:
            return conv_factory(spec.norm_layer, spec.act_layer)(in_channels, channels, 3, stride)
        parts = {
            "conv_dw": make_conv(in_channels, in_channels, 3, stride, groups=in_channels),
            "conv_pw": make_conv(in_channels, channels, 1),
            "bn": norm_act_factory(spec.norm_layer, spec.act_layer)(channels),
        }
        return nn.Sequential(OrderedDict(parts))

    def make_block(self, place: BlockPlace, is_last: bool) -> ResidualBlock:
        spec = self.spec
        conv = conv_factory(spec.norm_layer, spec.act_layer)
        width, in_channels = spec.stage_conv_chs[place.stage], place.in_channels
        reduces = spec.depthwise and in_channels != width
        starts = [width if reduces else in_channels, *(width,) * (spec.layer_per_block - 1)]
        parts = {
            **({"conv_reduction": conv(in_channels, width)} if reduces else {}),
            "conv_mid": OneShotChain(self.make_conv3(channels, width) for channels in starts),
            "conv_concat": conv(in_channels + spec.layer_per_block * width, place.channels),
            "attn": make_attention(spec.attn if is_last else "", place.channels),
            "drop_path": make_drop_path(place.drop_path),
            "shortcut": nn.Identity() if spec.residual and not place.opens_stage else None,
        }
        return (ReducedBlock if reduces else ResidualBlock)(parts, shortcut="shortcut")
