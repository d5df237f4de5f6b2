"""RepViT: Wang et al., Revisiting Mobile CNN From ViT Perspective (arXiv:2307.09283)."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.repvit import RepVitSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.conv_norm import conv_norm
from zoo.models.layers.linear_map import Diagonal, LinearMap
from zoo.models.layers.stages import walk_stages
from zoo.models.layers.token_init import init_linear
from zoo.models.normed_classifier import DistilledOfMean

__getattr__ = family_attributes("repvit")


class DepthwiseBranches(nn.Module):
    """A depthwise convolution, a factor for each channel and the input itself, summed (arXiv:2101.03697)."""

    def __init__(self, channels: int, kernel: int, legacy: bool) -> None:
        super().__init__()
        self.conv = conv_norm(channels, channels, kernel, groups=channels)
        factor = nn.Conv2d(channels, channels, 1, groups=channels)
        self.conv1 = conv_norm(channels, channels, groups=channels) if legacy else factor
        self.bn = nn.Identity() if legacy else nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x) + self.conv1(x) + x)

    def fuse(self) -> nn.Module:
        """One depthwise convolution."""
        conv = self.conv[0]
        factor = LinearMap.of(self.conv1) if isinstance(self.conv1, nn.Conv2d) else self.conv1.linear_map()
        found = self.conv.linear_map() + factor + Diagonal.identity(conv)
        return (found if isinstance(self.bn, nn.Identity) else found.then(Diagonal.of(self.bn))).as_layer(conv)


class ConvMlp(nn.Module):
    """A perceptron of normed pointwise convolutions, whose user adds a shortcut."""

    def __init__(self, spec: RepVitSpec, channels: int) -> None:
        super().__init__()
        hidden = spec.mlp_ratio * channels
        self.conv1 = conv_norm(channels, hidden)
        self.act = make_activation(spec.act_layer)
        self.conv2 = conv_norm(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.act(self.conv1(x)))


class RepVitBlock(nn.Module):
    """Depthwise branches mix positions, a perceptron mixes channels (figure 3)."""

    def __init__(self, spec: RepVitSpec, channels: int, use_se: bool) -> None:
        super().__init__()
        self.token_mixer = DepthwiseBranches(channels, spec.kernel_size, spec.legacy)
        self.se = SqueezeExcite(channels, 0.25) if use_se else nn.Identity()
        self.channel_mixer = ConvMlp(spec, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.se(self.token_mixer(x))
        return x + self.channel_mixer(x)


class Downsample(nn.Module):
    """A block, a strided depthwise convolution, a pointwise one that widens the map, a perceptron (figure 4)."""

    def __init__(self, spec: RepVitSpec, in_channels: int, channels: int) -> None:
        super().__init__()
        self.pre_block = RepVitBlock(spec, in_channels, use_se=False)
        self.spatial_downsample = conv_norm(in_channels, in_channels, spec.kernel_size, 2, groups=in_channels)
        self.channel_downsample = conv_norm(in_channels, channels)
        self.ffn = ConvMlp(spec, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.channel_downsample(self.spatial_downsample(self.pre_block(x)))
        return x + self.ffn(x)


class RepVit(DistilledOfMean, ConvNet):
    """Stem, four stages, pooling, classifiers `head.head` and `head.head_dist`, each a norm and a linear layer."""

    spec: RepVitSpec

    def build(self) -> None:
        spec = self.spec
        width = spec.embed_dim[0]
        stem = {
            "conv1": conv_norm(self.in_chans, width // 2, 3, 2),
            "act1": make_activation(spec.act_layer),
            "conv2": conv_norm(width // 2, width, 3, 2),
        }
        self.stem = nn.Sequential(OrderedDict(stem))
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.embed_dim, spec.depth, strict=True)]
        for places in walk_stages(widths, width, 4):
            first, last = places[0], places[-1]
            downsample = Downsample(spec, first.in_channels, first.channels) if first.stage else nn.Identity()
            blocks = [RepVitBlock(spec, place.channels, use_se=place.position % 2 == 0) for place in places]
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=nn.Sequential(*blocks))))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
        self.num_features = spec.embed_dim[-1]

    def init_module(self, name: str, module: nn.Module) -> None:
        """Perceptrons start as zero."""
        super().init_module(name, module)
        init_linear(module)
        if isinstance(module, ConvMlp):
            nn.init.zeros_(module.get_parameter("conv2.bn.weight"))
