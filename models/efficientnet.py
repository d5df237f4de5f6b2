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
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.init import InitialValues, grouped_fan_out
from zoo.models.layers.mbconv import BlockStyle, make_block
from zoo.models.layers.stages import walk_stages

__getattr__ = family_attributes("efficientnet")


class EfficientNet(ConvNet):
    """Stem, stages of blocks, a pointwise convolution, pooling, classifier `classifier`."""

    spec: EfficientNetSpec
    initial_values = InitialValues(grouped_fan_out, zero_bias=True)
    trunk = ("blocks.*",)

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        style = self.make_style()
        self.make_stem(spec, style)
        channels = self._make_stages(style, output_stride, drop_path_rate)
        self.num_features = self.make_final_conv(spec, style, channels)

    def make_style(self) -> BlockStyle:
        """What all blocks share."""
        return BlockStyle.of(self.spec)

    def make_stem(self, spec: EfficientNetSpec, style: BlockStyle) -> None:
        self.conv_stem = style.conv(self.in_chans, spec.stem_channels, spec.stem_kernel_size, stride=2)
        self.bn1 = style.norm_act(spec.stem_channels)

    def make_final_conv(self, spec: EfficientNetSpec, style: BlockStyle, channels: int) -> int:
        """Create the convolution after the stages; returns the channels that leave the trunk."""
        if not spec.head_channels:
            return channels
        self.conv_head = style.conv(channels, spec.head_channels, 1)
        self.bn2 = style.norm_act(spec.head_channels)
        return spec.head_channels

    def _make_stages(self, style: BlockStyle, output_stride: int, drop_path_rate: float) -> int:
        """Create `blocks` and `feature_info`; returns the channels of the last stage.

        A level ends before each stage that halves the resolution, at `output_stride` 32.
        """
        stages = self.spec.scaled_stages()
        num_blocks = sum(map(len, stages))
        walk = walk_stages(
            [[row.channels for row in rows] for rows in stages],
            self.spec.stem_channels,
            2,
            strides=[2 if rows[0].halves_resolution else 1 for rows in stages],
            output_stride=output_stride,
            drop_path=[drop_path_rate * position / num_blocks for position in range(num_blocks)],
        )
        level = {"num_chs": self.spec.stem_channels, "reduction": 2, "module": "bn1"}
        self.blocks = nn.Sequential()
        for rows, places in zip(stages, walk, strict=True):
            if rows[0].halves_resolution:
                self.feature_info.append(level)
            if places[0].stride == 1:
                rows[0] = replace(rows[0], stride=1)
            level = places[-1].level(f"blocks.{len(self.blocks)}")
            self.blocks.append(nn.Sequential(*map(make_block, [style] * len(rows), rows, places)))
        self.feature_info.append(level)
        return places[-1].channels

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "bn1", lambda x: self.bn1(self.conv_stem(x))
        yield from super().steps()

    def finish(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv_head(x)) if self.spec.head_channels else x

    def init_module(self, name: str, module: nn.Module) -> None:
        """As TensorFlow's EfficientNet: convolutions by fan-out, uniform linear layers."""
        super().init_module(name, module)
        if isinstance(module, nn.Linear):
            fan = module.out_features + (module.in_features if name.endswith("routing_fn") else 0)
            nn.init.uniform_(module.weight, -1 / sqrt(fan), 1 / sqrt(fan))
