"""EfficientNet and the mobile networks of the same blocks.

Tan and Le, EfficientNet (arXiv:1905.11946) and EfficientNetV2 (arXiv:2104.00298); MobileNetV1 (arXiv:1704.04861) and
V2 (arXiv:1801.04381); MnasNet (arXiv:1807.11626); FBNet (arXiv:1812.03443); Single-Path NAS (arXiv:1904.02877);
MixNet (arXiv:1907.09595); CondConv (arXiv:1904.04971); TinyNet (arXiv:2010.14819); EfficientNet-X (arXiv:2102.05610).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.efficientnet import EfficientNetSpec
from zoo.models.base import Step
from zoo.models.conv_net import DilatedConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.mbconv import BlockStyle, make_block
from zoo.models.layers.norm_act import norm_act_factory

__getattr__ = family_attributes("efficientnet")


class EfficientNet(DilatedConvNet):
    """Stem, stages of blocks, a pointwise convolution, pooling, classifier `classifier`."""

    spec: EfficientNetSpec

    def build(self, output_stride: int, drop_path_rate: float) -> None:
        spec, in_chans = self.spec, self.in_chans
        style = self.make_style(spec)
        self.conv_stem = style.conv(in_chans, spec.stem_channels, spec.stem_kernel_size, stride=2)
        self.bn1 = style.norm_act(spec.stem_channels)
        channels = self._make_stages(spec, style, output_stride, drop_path_rate)
        self.num_features = self.make_final_conv(spec, style, channels)

    def make_style(self, spec: EfficientNetSpec) -> BlockStyle:
        """What all blocks share."""
        return BlockStyle(
            norm_act_factory(spec.norm_layer, spec.act_layer, spec.bn_eps, spec.norm_group_size),
            spec.act_layer,
            spec.pad_type,
            spec.aa_layer,
            spec.se_layer,
        )

    def make_final_conv(self, spec: EfficientNetSpec, style: BlockStyle, channels: int) -> int:
        """Create the convolution after the stages; returns the channels that leave the trunk."""
        if not spec.head_channels:
            return channels
        self.conv_head = style.conv(channels, spec.head_channels, 1)
        self.bn2 = style.norm_act(spec.head_channels)
        return spec.head_channels

    def _make_stages(self, spec: EfficientNetSpec, style: BlockStyle, output_stride: int, drop_path_rate: float) -> int:
        """Create `blocks` and `feature_info`; returns the channels of the last stage.

        A level ends before each stage that halves the resolution, at `output_stride` 32.
        """
        stages = spec.scaled_stages()
        channels, reduction, dilation = spec.stem_channels, 2, 1
        num_blocks, position = sum(map(len, stages)), 0
        level = {"num_chs": channels, "reduction": reduction, "module": "bn1"}
        self.feature_info = []
        self.blocks = nn.Sequential()
        for index, rows in enumerate(stages):
            stage = nn.Sequential()
            for row in rows:
                halves, next_dilation = row.halves_resolution, dilation
                if halves:
                    self.feature_info.append(level)
                if halves and 2 * reduction > output_stride:
                    row, next_dilation = replace(row, stride=1), 2 * dilation
                elif halves:
                    reduction *= 2
                drop_path = drop_path_rate * position / num_blocks
                stage.append(make_block(style, row, channels, dilation=dilation, drop_path=drop_path))
                channels, dilation, position = row.channels, next_dilation, position + 1
            self.blocks.append(stage)
            level = {"num_chs": channels, "reduction": reduction, "module": f"blocks.{index}"}
        self.feature_info.append(level)
        return channels

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "bn1", lambda x: self.bn1(self.conv_stem(x))
        for index, stage in enumerate(self.blocks):
            yield f"blocks.{index}", stage

    def finish(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv_head(x)) if self.spec.head_channels else x

    def init_module(self, name: str, module: nn.Module) -> None:
        """As TensorFlow's EfficientNet: convolutions by fan-out, uniform linear layers."""
        super().init_module(name, module)
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1] // module.groups
            nn.init.normal_(module.weight, std=sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            fan = module.out_features + (module.in_features if name.endswith("routing_fn") else 0)
            nn.init.uniform_(module.weight, -1 / sqrt(fan), 1 / sqrt(fan))
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
