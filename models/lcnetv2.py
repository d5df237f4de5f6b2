"""PP-LCNetV2: PaddlePaddle's successor of PP-LCNet (arXiv:2109.15099) with branches that one convolution can stand for.

Described at https://github.com/PaddlePaddle/PaddleClas/blob/release/2.6/docs/en/models/PP-LCNetV2_en.md.
"""

from __future__ import annotations

import torch.nn as nn

from zoo.core.architectures.configs.lcnetv2 import STAGES, STEM, LCNetV2Spec, SeparableRow
from zoo.models.conv_head import ConvHead
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.branch_sum import BranchSum
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.conv_norm_act import ConvFactory, conv_factory
from zoo.models.layers.init import InitialValues, kaiming
from zoo.models.layers.linear_map import sum_of_normed
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("lcnetv2")


class BranchedBlock(ResidualBlock):
    """A block whose depthwise convolution is a sum of several."""

    dw_conv_list: BranchSum

    def fuse(self) -> nn.Module:
        """The block with one depthwise convolution `dw_conv`."""
        conv = sum_of_normed(self.dw_conv_list).as_layer(self.dw_conv_list.get_submodule("0.conv"))
        others = {name: part for name, part in self._modules.items() if name != "dw_conv_list"}
        return ResidualBlock({"dw_conv": conv, **others}, shortcut="skip")


def separable_block(spec: LCNetV2Spec, conv: ConvFactory, row: SeparableRow, place: BlockPlace) -> ResidualBlock:
    """Depthwise convolution, attention, pointwise convolution."""
    width, channels, stride = place.in_channels, place.channels, place.stride
    if row.branches:
        # A convolution of one pixel that strides sees other pixels than the larger ones, so it has no branch.
        sizes = [size for size in range(row.kernel, 0, -2) if size > 1 or stride == 1]
        branches = [conv(width, width, size, stride, groups=width, act="identity") for size in sizes]
        depthwise = {"dw_conv_list": BranchSum(branches), "dw_act": make_activation(spec.act_layer)}
    else:
        depthwise = {"dw_conv": conv(width, width, row.kernel, stride, groups=width)}
    parts = {
        **depthwise,
        "se": SqueezeExcite(width, hidden=width // 4, act=spec.act_layer) if row.has_se else nn.Identity(),
        "pw_conv": nn.Sequential(conv(width, channels // 2), conv(channels // 2, channels))
        if row.split
        else conv(width, channels),
        "skip": nn.Identity() if row.skip and place.keeps_shape else None,
    }
    return (BranchedBlock if row.branches else ResidualBlock)(parts, shortcut="skip")


class LCNetV2(ConvHead, ConvNet):
    """Stem, four stages, pooling, a convolution, classifier `classifier`."""

    spec: LCNetV2Spec
    initial_values = InitialValues(kaiming, zero_bias=True)

    def build(self) -> None:
        spec = self.spec
        conv = conv_factory(spec.norm_layer, spec.act_layer)
        first, channels = spec.scaled(32), spec.scaled(STEM.channels)
        stem_block = separable_block(spec, conv, STEM, BlockPlace(first, channels))
        self.stem = nn.Sequential(conv(self.in_chans, first, 3, 2), stem_block)
        widths = [[spec.scaled(row.channels)] * depth for row, depth in zip(STAGES, spec.depths, strict=True)]
        self.stages = nn.Sequential()
        for row, places in zip(STAGES, walk_stages(widths, channels, 2), strict=True):
            self.feature_info.append(places[-1].level(f"stages.{len(self.stages)}"))
            self.stages.append(nn.Sequential(*(separable_block(spec, conv, row, place) for place in places)))
        self.num_features = widths[-1][-1]

    def make_hidden_layers(self, pooled: int) -> int:
        spec = self.spec
        self.conv_head = nn.Conv2d(pooled, spec.head_hidden_size, 1, bias=False)
        self.act2 = make_activation(spec.act_layer)
        return spec.head_hidden_size
