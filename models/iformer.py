"""iFormer: Zheng, Integrating ConvNet and Transformer for Mobile Application (arXiv:2501.15369)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.iformer import IFormerSpec
from zoo.core.errors import UsageError
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.activation import make_activation
from zoo.models.layers.attention import attend
from zoo.models.layers.conv_norm import ConvThenNorm, conv_norm
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import TRUNCATED_NORMAL
from zoo.models.layers.layer_scale import ChannelScale, scale_maps
from zoo.models.layers.linear_map import Diagonal
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.normed_classifier import DistilledOfMean

__getattr__ = family_attributes("iformer")


class ModulationAttention(nn.Module):
    """Attention of one head over a map (N, C, H, W), whose result a gate multiplies (section 3.3).

    Args:
        channels: of the map.
        key_dim: channels of queries and keys.
    """

    def __init__(self, channels: int, key_dim: int) -> None:
        super().__init__()
        self.q = conv_norm(channels, key_dim)
        self.k = conv_norm(channels, key_dim)
        self.v_gate = conv_norm(channels, 2 * channels)
        self.proj = conv_norm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.v_gate(x).sigmoid().chunk(2, 1)
        q, k, v = (part.flatten(2).mT.unsqueeze(1) for part in (self.q(x), self.k(x), value))
        return self.proj(attend(q, k, v).mT.unflatten(2, x.shape[2:]) * gate)


class Residual(ChannelScale):
    """`x + gamma * module(x)` over a map (N, C, H, W); no gamma where its initial value is 0."""

    gamma: nn.Parameter | None

    def __init__(self, module: nn.Module, drop_path: float = 0.0, channels: int = 0, initial: float = 0.0) -> None:
        super().__init__()
        self.module = module
        self.drop_path = make_drop_path(drop_path)
        self.initial = initial
        self.register_parameter("gamma", nn.Parameter(torch.empty(1, channels, 1, 1)) if initial else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.gamma is not None:
            nn.init.constant_(self.gamma, self.initial)

    def forward(self, x: Tensor) -> Tensor:
        return x + scale_maps(self.drop_path(self.module(x)), self.gamma)


class PositionConv(nn.Sequential):
    """A depthwise convolution with a shortcut, `cpe`, which tells the positions apart (arXiv:2102.10882)."""

    def __init__(self, channels: int) -> None:
        super().__init__(OrderedDict(cpe=Residual(conv_norm(channels, channels, 3, groups=channels))))

    def fuse(self) -> nn.Module:
        """One convolution."""
        pair = self.get_submodule("cpe.module")
        assert isinstance(pair, ConvThenNorm)
        return (pair.linear_map() + Diagonal.identity(pair[0])).as_layer(pair[0])


def perceptron(channels: int, ratio: int, act: str, *first: nn.Module) -> nn.Sequential:
    """Two normed pointwise convolutions, behind what comes `first`."""
    hidden = ratio * channels
    return nn.Sequential(*first, conv_norm(channels, hidden), make_activation(act), conv_norm(hidden, channels))


def block_kinds(depth: int, groups: int) -> list[str]:
    """The blocks of a stage: groups of positions, attention and a perceptron, before the last convolution."""
    convs = depth - 3 * groups
    if convs < 0:
        raise UsageError(f"{groups} groups of attention need {3 * groups} blocks, the stage has {depth}.")
    return ["conv"] * (convs - 1) + ["positions", "attention", "mlp"] * groups + ["conv"] * (convs > 0)


def make_block(spec: IFormerSpec, place: BlockPlace, kind: str) -> nn.Sequential:
    """One block of a stage, with a shortcut."""
    channels = place.channels
    if kind == "positions":
        return PositionConv(channels)
    module: nn.Module
    if kind == "attention":
        module = ModulationAttention(channels, channels // spec.attn_head_dim_reduction[place.stage])
    elif kind == "mlp":
        module = perceptron(channels, spec.ffn_ratio, spec.act_layer)
    else:
        depthwise = conv_norm(channels, channels, 7, groups=channels)
        module = perceptron(channels, spec.conv_ratio, spec.act_layer, depthwise)
    mixer = Residual(module, place.drop_path, channels, spec.layer_scale_init_value)
    return nn.Sequential(OrderedDict(mixer=mixer))


class IFormer(DistilledOfMean, ConvNet):
    """Stem, four stages, pooling, classifiers `head.head` and, where distilled, `head.head_dist`."""

    spec: IFormerSpec
    initial_values = TRUNCATED_NORMAL

    def build(self, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        width = spec.dims[0]
        stem = {
            "conv1": conv_norm(self.in_chans, width // 2, 5, 2),
            "act1": make_activation(spec.act_layer),
            "conv2": conv_norm(width // 2, width // 2 * 4, 5, 2),
            "act2": make_activation(spec.act_layer),
            "conv3": conv_norm(width // 2 * 4, width),
        }
        self.stem = nn.Sequential(OrderedDict(stem))
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.dims, spec.depths, strict=True)]
        for places, groups in zip(
            walk_stages(widths, width, 4, drop_path=drop_path_rate), spec.attn_groups, strict=True
        ):
            first, last = places[0], places[-1]
            downsample = conv_norm(first.in_channels, first.channels, 3, 2) if first.stage else nn.Identity()
            kinds = zip(places, block_kinds(len(places), groups), strict=True)
            blocks = nn.Sequential(*(make_block(spec, place, kind) for place, kind in kinds))
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
        self.num_features = spec.dims[-1]


AUTHORS_KEYS: KeyTable = {
    r"^classifier\.classifier_dist\.": "head.head_dist.",
    r"^classifier\.(classifier\.)?": "head.head.",
    r"^downsample_layers\.0\.0\.": "stem.conv1.",
    r"^downsample_layers\.0\.2\.conv_exp_bn1\.": "stem.conv2.",
    r"^downsample_layers\.0\.2\.conv_pwl_bn2\.": "stem.conv3.",
    r"^downsample_layers\.(\d)\.(0\.)?": r"stages.\1.downsample.",
    r"^stages\.(\d)\.(\d+)\.(block\.)?": r"stages.\1.blocks.\2.",
    r"\.(token_)?channel_mixer\.": ".mixer.",
    r"\.m\.": ".module.",
}


def repair_keys(state_dict: Mapping[str, Tensor], model: IFormer) -> dict[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files."""
    return rename_keys(state_dict, AUTHORS_KEYS)
