"""MobileNetV3 and V4, and networks with MobileNetV3's head: FBNetV3, LCNet.

Howard et al., Searching for MobileNetV3 (arXiv:1905.02244); Qin et al., MobileNetV4 (arXiv:2404.10518); Dai et al.,
FBNetV3 (arXiv:2006.02049); Cui et al., PP-LCNet (arXiv:2109.15099).
"""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.efficientnet import EfficientNetSpec
from zoo.core.architectures.configs.mobilenetv3 import MobileNetV3Spec
from zoo.models.conv_head import ConvHead
from zoo.models.efficientnet import EfficientNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.mbconv import BlockStyle, SqueezeStyle

__getattr__ = family_attributes("mobilenetv3")


class MobileNetV3(ConvHead, EfficientNet):
    """EfficientNet's trunk without its last convolution; that one stands after the pooling, where it costs less.

    Arguments as for EfficientNet. `num_features` are the channels of the trunk, `head_hidden_size` those of the
    convolution.
    """

    hidden_layers = ("conv_head", "norm_head", "act2")
    spec: MobileNetV3Spec

    def make_style(self) -> BlockStyle:
        spec = self.spec
        squeeze = SqueezeStyle(
            spec.se_act, spec.se_gate, spec.se_of_expanded, spec.se_divisor, round_limit=spec.round_limit
        )
        return BlockStyle.of(spec, squeeze=squeeze, layer_scale=spec.layer_scale)

    def make_final_conv(self, spec: EfficientNetSpec, style: BlockStyle, channels: int) -> int:  # noqa: ARG002 - no conv
        return channels

    def finish(self, x: Tensor) -> Tensor:
        return x

    def make_hidden_layers(self, pooled: int) -> int:
        spec = self.spec
        self.conv_head = nn.Conv2d(pooled, spec.head_channels, 1, bias=spec.head_bias and not spec.head_norm)
        if spec.head_norm:
            self.norm_head: nn.Module = self.make_style().norm_act(spec.head_channels)
            self.act2: nn.Module = nn.Identity()
        else:
            self.norm_head = nn.Identity()
            self.act2 = make_activation(spec.act_layer)
        return spec.head_channels
