"""ViTamin: Chen et al., Designing Scalable Vision Models in the Vision-Language Era (arXiv:2404.02132).

Two stages of inverted residuals with layer norm, then a vision transformer with gated perceptrons.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.vitamin import ViTaminSpec
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.hybrid_embed import Backbone, HybridEmbed
from zoo.models.layers.init import GROUPED_FAN_OUT, InitialValues
from zoo.models.layers.norm import LayerNorm2d
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.transformer_block import BlockStyle
from zoo.models.vision_transformer_hybrid import VisionTransformerHybrid
from zoo.models.vision_transformer_keys import repair_keys, unused_keys

__all__ = ["ViTamin", "repair_keys", "unused_keys"]
__getattr__ = family_attributes("vitamin")

conv = partial(make_conv, bias=True)


def inverted_residual(place: BlockPlace) -> ResidualBlock:
    """Norm, 1x1 to four times the channels, depthwise 3x3 with the stride, 1x1."""
    width, shortcut = 4 * place.channels, nn.Sequential()
    if place.stride == 2:
        shortcut.add_module("pool", nn.AvgPool2d(3, 2, padding=1, count_include_pad=False))
    if place.in_channels != place.channels:
        shortcut.add_module("expand", conv(place.in_channels, place.channels, 1))
    parts = {
        "shortcut": shortcut,
        "pre_norm": LayerNorm2d(place.in_channels),
        "conv1_1x1": conv(place.in_channels, width, 1),
        "act1": make_activation("gelu"),
        "conv2_kxk": conv(width, width, 3, place.stride, groups=width),
        "act2": make_activation("gelu"),
        "conv3_1x1": conv(width, place.channels, 1),
    }
    return ResidualBlock(parts, shortcut="shortcut")


class GatedMlp(nn.Module):
    """`w2(act(w0(x)) * w1(x))` behind a norm of its own."""

    def __init__(self, channels: int, hidden: int, act: str, bias: bool, drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.w0 = nn.Linear(channels, hidden, bias=bias)
        self.act = make_activation(act)
        self.w1 = nn.Linear(channels, hidden, bias=bias)
        self.drop1 = nn.Dropout(drop)
        self.w2 = nn.Linear(hidden, channels, bias=bias)
        self.drop2 = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.drop2(self.w2(self.drop1(self.act(self.w0(x)) * self.w1(x))))


class ViTamin(VisionTransformerHybrid):
    """Convolutions `patch_embed.backbone`, positions, blocks, pooling, norm, classifier `head`."""

    spec: ViTaminSpec  # type: ignore[assignment]

    def make_backbone(self) -> Backbone:
        spec = self.spec
        first, last = spec.conv_widths
        norm_act = norm_act_factory("layernorm", "gelu", eps=1e-6)
        first_conv, second_conv = conv(self.in_chans, first, 3, 2), conv(first, first, 3)
        stem = nn.Sequential(OrderedDict(conv1=first_conv, norm1=norm_act(first), conv2=second_conv))
        widths = [[width] * depth for width, depth in zip(spec.conv_widths, spec.conv_depths, strict=True)]
        stages = (nn.Sequential(*map(inverted_residual, places)) for places in walk_stages(widths, first, 2))
        pool = nn.Sequential(OrderedDict(norm=LayerNorm2d(last), proj=conv(last, spec.embed_dim, 3, 2)))
        network = nn.Sequential(OrderedDict(stem=stem, stages=nn.Sequential(*stages), pool=pool))
        return Backbone(network, spec.embed_dim, 16, embeds=True)

    def make_patch_embed(self, **options: Any) -> HybridEmbed:
        options["any_size"] |= not self.spec.embed_positions  # then nothing depends on the size
        return super().make_patch_embed(**options)

    def make_block(self, style: BlockStyle, drop_path: float, depth: int) -> nn.Module:
        block = super().make_block(style, drop_path, depth)
        block.mlp = GatedMlp(style.embed_dim, style.hidden_channels, style.act_layer, style.proj_bias, style.proj_drop)
        return block

    @property
    def backbone_values(self) -> InitialValues:
        return GROUPED_FAN_OUT

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if name == "patch_embed.backbone.pool.proj":
            assert isinstance(module, nn.Conv2d)
            module.reset_parameters()  # it alone starts as torch has it
