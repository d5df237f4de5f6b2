"""CPUBone: Nottebaum et al., Efficient Vision Backbone Design for Devices with Low Parallelization Capabilities.

arXiv:2603.26425. The trunk is LowFormer's, with grouped expansions, and where cells attend with kernels of 2x2 and an
enlargement that learns nothing.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.cpubone import CPUBoneSpec
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.init import TORCH
from zoo.models.layers.inverted_bottleneck import fused_mbconv, mbconv, residual
from zoo.models.layers.tracing import leaf_function
from zoo.models.lowformer import EXPAND, FUSED_BELOW, TRUNK_KEYS, ConvAttention, LowFormer, group_norm, normed_mlp

__getattr__ = family_attributes("cpubone")

KERNEL = 2
NORMED = {"proj": (False, False, True), "depth_proj": (False, True, True), "all": (True, True, True)}


class SmallKernelAttention(ConvAttention):
    """Attention between tiles of a map, each cell of which then gets what its tile does."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, stride, KERNEL)

    def make_upsampling(self, width: int, channels: int) -> nn.Module:
        repeat = nn.Upsample(scale_factor=self.stride) if self.stride > 1 else nn.Identity()
        return nn.Sequential(nn.Conv2d(width, channels, 1), repeat)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        return super().forward(fill_tiles(x, self.stride))[..., :height, :width]


@leaf_function
def fill_tiles(x: Tensor, side: int) -> Tensor:
    """A map (N, C, H, W) whose last tiles are filled up with zeros."""
    below, right = -x.shape[2] % side, -x.shape[3] % side
    return F.pad(x, (0, right, 0, below)) if below or right else x


class CPUBone(LowFormer):
    """LowFormer's trunk, a wide convolution, pooling, a hidden layer, classifier `head.classifier`."""

    spec: CPUBoneSpec
    initial_values = TORCH
    expansion = "head.in_conv"
    hidden_layers = ("head.pre_classifier",)
    head_parts = ("global_pool",)
    expand_groups = 2

    def make_hidden_head(self) -> None:
        hidden = nn.Sequential(OrderedDict(zip(("linear", "norm", "act"), self.make_hidden_layer(), strict=True)))
        self.head = nn.Sequential(OrderedDict(in_conv=self.make_expansion(), pre_classifier=hidden))

    @property
    def classifier_paths(self) -> tuple[str, ...]:
        """What the linear layer that the spec names lies in."""
        return ("head.classifier",)

    def make_classifier(self) -> nn.Module:
        classifier = super().make_classifier()
        return nn.Sequential(OrderedDict(linear=classifier)) if self.num_classes else classifier

    def make_block(self, channels: int, stride: int, drop_path: float) -> nn.Module:
        attention = nn.Sequential(group_norm(channels), SmallKernelAttention(channels, stride))
        mlp = normed_mlp(channels, self.spec.proj_drop_rate)
        context = nn.Sequential(residual(attention, drop_path), residual(mlp, drop_path))
        local = residual(self.make_local(channels), drop_path)
        return nn.Sequential(OrderedDict(total=nn.Sequential(context, local)))

    def make_local(self, channels: int) -> nn.Sequential:
        act, groups = self.spec.act_layer, self.expand_groups
        if channels < FUSED_BELOW:
            return fused_mbconv(channels, channels, expand=EXPAND, act=act, kernel=KERNEL, groups=groups, bias=True)
        normed = NORMED[self.spec.local_norm]
        return mbconv(channels, channels, expand=EXPAND, act=act, kernel=KERNEL, groups=groups, normed=normed)


AUTHORS_KEYS: KeyTable = {
    r"^head\.op_list\.0\.": "head.in_conv.",
    r"^head\.op_list\.2\.": "head.pre_classifier.",
    r"^head\.op_list\.3\.": "head.classifier.",
    **TRUNK_KEYS,
}
NORMED_BIAS = re.compile(r"(\.(?:inverted|depth)_conv\.)conv\.(?:1\.)?bias$")


def repair_keys(state_dict: Mapping[str, Tensor], model: CPUBone) -> dict[str, Tensor]:
    """The names of the authors' files; biases in front of a norm, which they have, go into its mean."""
    if "stem.0.conv.weight" in state_dict:
        return dict(state_dict)
    repaired = rename_keys(state_dict, AUTHORS_KEYS)
    if model.spec.local_norm == "all":
        for key in filter(NORMED_BIAS.search, list(repaired)):
            bias, mean = repaired.pop(key), NORMED_BIAS.sub(r"\1norm.running_mean", key)
            if mean in repaired:
                repaired[mean] = repaired[mean] - bias
    return repaired
