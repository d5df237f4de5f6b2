"""ConvMixer: Trockman and Kolter, Patches Are All You Need? (arXiv:2201.09792)."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.convmixer import ConvMixerSpec
from zoo.models.base import Step, in_sequence
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation

__getattr__ = family_attributes("convmixer")


def activated(conv: nn.Conv2d, act_layer: str) -> nn.Sequential:
    """A convolution, the activation, then the norm: equations 1 to 3 of the paper."""
    return nn.Sequential(conv, make_activation(act_layer), nn.BatchNorm2d(conv.out_channels))


class Residual(nn.Module):
    """The input and what a module makes of it."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(x)


def make_block(spec: ConvMixerSpec) -> nn.Sequential:
    """A depthwise convolution mixes positions, beside a shortcut; a pointwise one mixes channels."""
    channels, kernel = spec.embed_dim, spec.kernel_size
    depthwise = nn.Conv2d(channels, channels, kernel, padding="same", groups=channels)
    return nn.Sequential(
        Residual(activated(depthwise, spec.act_layer)),
        *activated(nn.Conv2d(channels, channels, 1), spec.act_layer),
    )


class ConvMixer(ConvNet):
    """Patch embedding `stem`, blocks that keep the size of the map, pooling, classifier `head`."""

    spec: ConvMixerSpec
    default_out_indices = 3

    def build(self) -> None:
        spec = self.spec
        self.num_features = spec.embed_dim
        patches = nn.Conv2d(self.in_chans, spec.embed_dim, spec.patch_size, spec.patch_size)
        self.stem = activated(patches, spec.act_layer)
        self.blocks = nn.Sequential(*(make_block(spec) for _ in range(spec.depth)))
        self.feature_info = [
            {"num_chs": spec.embed_dim, "reduction": spec.patch_size, "module": f"blocks.{index}"}
            for index in range(spec.depth)
        ]

    def steps(self) -> Iterator[tuple[str, Step]]:
        # As one part each: checkpointing runs the parts of a Sequential apart, and activations work in place.
        yield "stem", in_sequence([self.stem])
        for index, block in enumerate(self.blocks):
            yield f"blocks.{index}", in_sequence([block])
