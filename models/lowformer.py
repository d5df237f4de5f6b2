"""LowFormer: Nottebaum et al., Hardware Efficient Design for Convolutional Transformer Backbones (arXiv:2409.03460).

Fused inverted bottlenecks; in the last stages attention at a lower resolution, between convolutions that shrink the map
and enlarge it again. The variants for edge devices are those of arXiv:2603.26551.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.lowformer import LowFormerSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.expanded_head import ExpandedHead
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.conv_unit import conv_unit
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.init import InitialValues
from zoo.models.layers.inverted_bottleneck import downsample, fused_mbconv, mbconv, residual
from zoo.models.layers.norm import norm_factory
from zoo.models.layers.token_init import init_linear

__getattr__ = family_attributes("lowformer")

EXPAND = 4
MLP_RATIO = 4
FUSED_BELOW = 256
"""Channels from which on a block of attention has a depthwise convolution instead of a dense one."""

group_norm = norm_factory("groupnorm1")


class ConvAttention(nn.Module):
    """Attention over the cells of a map (N, C, H, W) that a depthwise convolution made; half the channels attend.

    What enlarges the map again is the output projection as well.
    """

    def __init__(self, channels: int, stride: int, kernel: int) -> None:
        super().__init__()
        self.stride, self.num_heads = stride, max(1, channels // 60)
        width = channels // self.num_heads // 2 * self.num_heads
        self.conv_proj = conv_unit(channels, channels, kernel, stride, groups=channels)
        self.pwise = nn.Conv2d(channels, 3 * width, 1, bias=False)
        self.upsampling = self.make_upsampling(width, channels)

    def make_upsampling(self, width: int, channels: int) -> nn.Module:
        kernel = 3 if self.stride == 1 else 2 * self.stride
        return nn.ConvTranspose2d(width, channels, kernel, self.stride, (kernel - self.stride) // 2)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = self.pwise(self.conv_proj(x))
        size = x.shape[2:]
        # Contiguous, because the faster kernels refuse other strides.
        heads = x.flatten(2).unflatten(1, (self.num_heads, -1)).mT.contiguous()
        q, k, v = heads.chunk(3, 3)
        x = F.scaled_dot_product_attention(q, k, v).mT.flatten(1, 2).unflatten(2, size)
        return self.upsampling(x)[..., :height, :width]


def normed_mlp(channels: int, drop: float) -> nn.Sequential:
    """A perceptron of pointwise convolutions behind a norm."""
    hidden = MLP_RATIO * channels
    layers = nn.Conv2d(channels, hidden, 1), nn.GELU(), nn.Conv2d(hidden, channels, 1)
    return nn.Sequential(group_norm(channels), *layers, nn.Dropout(drop))


class LowFormer(ExpandedHead, ConvNet):
    """Stem, four stages, a wide convolution, pooling, a hidden layer, classifier `classifier`."""

    spec: LowFormerSpec
    initial_values = InitialValues(linear=init_linear)
    expansion = "in_conv"
    hidden_layers = ("pre_classifier",)
    head_parts: tuple[str, ...] = ("global_pool", "in_conv", "pre_classifier")
    expand_groups = 1
    """Groups of the convolutions that expand."""

    def build(self) -> None:
        spec, channels = self.spec, self.spec.width
        rates = iter(drop_path_schedule(spec.drop_path_rate, sum(spec.depths)))
        self.stem = nn.Sequential(conv_unit(self.in_chans, channels, 3, 2, act=spec.act_layer))
        for _ in range(spec.depths[0]):
            self.stem.append(residual(self._fused(channels, channels, spec.stem_expand), next(rates)))
        self.stages = nn.Sequential()
        for stage, depth in enumerate(spec.depths[1:]):
            blocks = nn.Sequential(downsample(self._fused(channels, 2 * channels, spec.opening_expand, stride=2)))
            channels *= 2
            if stage >= 2:
                blocks.extend(self.make_block(channels, 2 if stage == 2 else 1, next(rates)) for _ in range(depth))
            else:
                next(rates)  # of the block that halves the map, which has no shortcut
                for _ in range(depth - 1):
                    blocks.append(residual(self._fused(channels, channels, EXPAND), next(rates)))
            self.stages.append(blocks)
            self.add_level(channels, 4 << stage, f"stages.{stage}")
        self.num_features = channels
        self.make_hidden_head()

    def make_hidden_head(self) -> None:
        """Create the layers before the classifier."""
        self.in_conv = self.make_expansion()
        self.pre_classifier = nn.Sequential(*self.make_hidden_layer())

    def _fused(self, in_channels: int, channels: int, expand: int, stride: int = 1) -> nn.Sequential:
        act, groups = self.spec.act_layer, self.expand_groups
        return fused_mbconv(in_channels, channels, expand=expand, act=act, stride=stride, groups=groups)

    def make_block(self, channels: int, stride: int, drop_path: float) -> nn.Module:
        """Attention to a map reduced by `stride`, a perceptron, an inverted bottleneck, each with a shortcut."""
        spec, parts = self.spec, {}
        if spec.has_attention:
            attention: nn.Module = ConvAttention(channels, stride, 3 if stride == 1 else 5)
            parts["attn"] = nn.Sequential(group_norm(channels), attention) if spec.has_mlp else attention
        if spec.has_mlp:
            parts["mlp"] = normed_mlp(channels, spec.proj_drop_rate)
        parts["local"] = self.make_local(channels)
        return nn.Sequential(OrderedDict((name, residual(part, drop_path)) for name, part in parts.items()))

    def make_local(self, channels: int) -> nn.Sequential:
        """The inverted bottleneck of a block with attention."""
        act = self.spec.act_layer
        if channels < FUSED_BELOW:
            return fused_mbconv(channels, channels, expand=EXPAND, act=act, bias=True)
        return mbconv(channels, channels, expand=EXPAND, act=act, normed=(False, False, True))


TRUNK_KEYS: KeyTable = {
    r"^backbone\.input_stem\.": "stem.",
    r"^backbone\.": "",
    r"\.op_list\.": ".",
    r"\.conv_proj\.0\.": ".conv_proj.conv.",
    r"\.conv_proj\.1\.": ".conv_proj.norm.",
    r"\.pwise\.0\.": ".pwise.",
}
AUTHORS_KEYS: KeyTable = {
    r"^head\.(?:opseq\.)?op_list\.": "head.op_list.",
    r"^head\.op_list\.0\.": "in_conv.",
    r"^head\.op_list\.2\.linear\.": "pre_classifier.0.",
    r"^head\.op_list\.2\.norm\.": "pre_classifier.1.",
    r"^head\.op_list\.3\.linear\.": "classifier.",
    **TRUNK_KEYS,
    # Where there is no perceptron, attention lies one level higher.
    r"\.total\.0\.1\.": ".mlp.",
    r"\.total\.0\.(?:0\.)?": ".attn.",
    r"\.total\.1\.": ".local.",
}


def repair_keys(state_dict: Mapping[str, Tensor], model: LowFormer) -> dict[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files."""
    if "stem.0.conv.weight" in state_dict:
        return dict(state_dict)
    return rename_keys(state_dict, AUTHORS_KEYS)
