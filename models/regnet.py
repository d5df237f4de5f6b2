"""RegNet X, Y, Z and V.

Radosavovic et al., Designing Network Design Spaces (arXiv:2003.13678): X, and Y with squeeze-and-excitation; Dollar et
al., Fast and Accurate Model Scaling (arXiv:2103.06877): Z with inverted bottlenecks. V is Y with pre-activation blocks.
Weights of arXiv:2103.01988 (SEER) and arXiv:2201.08371 (SWAG) are of the Y networks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from math import sqrt

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.regnet import RegNetSpec, RegStage
from zoo.models.base import Step
from zoo.models.conv_net import DilatedConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.norm_act import NormActFactory, norm_act_factory
from zoo.models.layers.pool import shortcut_pool

__getattr__ = family_attributes("regnet")


@dataclass(frozen=True)
class BlockPlace:
    """Where in the network a block stands.

    `first_dilation` is the dilation of its 3x3 convolution: that of the stage before, where `output_stride` turned a
    stride into dilation. `drop_path` is the rate of stochastic depth.
    """

    stage: RegStage
    in_channels: int
    stride: int
    dilation: int
    first_dilation: int
    drop_path: float

    @property
    def keeps_shape(self) -> bool:
        same_channels = self.in_channels == self.stage.channels
        return same_channels and self.stride == 1 and self.first_dilation == self.dilation

    @property
    def groups(self) -> int:
        return self.stage.width // self.stage.group_size


def make_attention(spec: RegNetSpec, place: BlockPlace) -> nn.Module:
    """Squeeze-and-excitation whose hidden width follows from the block's input."""
    if not spec.se_ratio:
        return nn.Identity()
    return SqueezeExcite(place.stage.width, act=spec.act_layer, hidden=round(place.in_channels * spec.se_ratio))


def make_shortcut(spec: RegNetSpec, place: BlockPlace, norm_act: NormActFactory) -> nn.Module | None:
    """The identity, or the projection of `spec.downsample`; None where a block goes without a shortcut."""
    if place.keeps_shape:
        return nn.Identity()
    if not spec.downsample:
        return None
    stride = 1 if spec.downsample == "avg" else place.stride
    if spec.preact:
        project: nn.Module = make_conv(place.in_channels, place.stage.channels, 1, stride)
    else:
        project = ConvNormAct(place.in_channels, place.stage.channels, 1, stride, norm_act=norm_act, act="identity")
    if spec.downsample == "avg":
        return nn.Sequential(shortcut_pool(place.stride, place.first_dilation), project)
    return project


class Bottleneck(nn.Module):
    """1x1, grouped 3x3 with the stride, squeeze-and-excitation, 1x1; the activation follows the sum."""

    def __init__(self, spec: RegNetSpec, place: BlockPlace, norm_act: NormActFactory) -> None:
        super().__init__()
        width, channels = place.stage.width, place.stage.channels
        self.conv1 = ConvNormAct(place.in_channels, width, norm_act=norm_act)
        self.conv2 = ConvNormAct(
            width, width, 3, place.stride, norm_act=norm_act, dilation=place.first_dilation, groups=place.groups
        )
        self.se = make_attention(spec, place)
        self.conv3 = ConvNormAct(width, channels, norm_act=norm_act, act="identity")
        self.act3 = make_activation("identity" if spec.linear_out else spec.act_layer)
        self.downsample = make_shortcut(spec, place, norm_act)
        self.drop_path = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv3(self.se(self.conv2(self.conv1(x))))
        if self.downsample is not None:
            branch = self.drop_path(branch) + self.downsample(x)
        return self.act3(branch)


class PreBottleneck(nn.Module):
    """The bottleneck with norm and activation before each convolution; the shortcut starts after the first norm."""

    def __init__(self, spec: RegNetSpec, place: BlockPlace, norm_act: NormActFactory) -> None:
        super().__init__()
        width = place.stage.width
        self.norm1 = norm_act(place.in_channels)
        self.conv1 = make_conv(place.in_channels, width, 1)
        self.norm2 = norm_act(width)
        self.conv2 = make_conv(width, width, 3, place.stride, dilation=place.first_dilation, groups=place.groups)
        self.se = make_attention(spec, place)
        self.norm3 = norm_act(width)
        self.conv3 = make_conv(width, place.stage.channels, 1)
        self.downsample = make_shortcut(spec, place, norm_act)
        self.drop_path = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x)
        branch = self.se(self.conv2(self.norm2(self.conv1(x))))
        branch = self.conv3(self.norm3(branch))
        if self.downsample is None:
            return branch
        return self.drop_path(branch) + self.downsample(x)


class RegNet(DilatedConvNet):
    """Stem, four stages `s1`..`s4`, an optional 1x1 convolution, pooling, classifier `head.fc`."""

    spec: RegNetSpec

    def build(self, output_stride: int, drop_path_rate: float) -> None:
        spec, in_chans = self.spec, self.in_chans
        norm_act = norm_act_factory(spec.norm_layer, spec.act_layer, group_size=spec.norm_group_size)
        if spec.preact:
            self.stem: nn.Module = make_conv(in_chans, spec.stem_width, 3, 2)
        else:
            self.stem = ConvNormAct(in_chans, spec.stem_width, 3, 2, norm_act=norm_act)
        self.feature_info = [{"num_chs": spec.stem_width, "reduction": 2, "module": "stem"}]
        channels = self._make_stages(spec, norm_act, output_stride, drop_path_rate)
        self.num_features = spec.num_features or channels
        if spec.num_features:
            self.final_conv: nn.Module = ConvNormAct(channels, spec.num_features, norm_act=norm_act)
        else:
            # Not in place: the map before it is the last feature level.
            ends_linear = spec.linear_out or spec.preact
            self.final_conv = make_activation(spec.act_layer if ends_linear else "identity", inplace=False)

    def _make_stages(
        self, spec: RegNetSpec, norm_act: NormActFactory, output_stride: int, drop_path_rate: float
    ) -> int:
        make_block = PreBottleneck if spec.preact else Bottleneck
        rates = iter(drop_path_schedule(drop_path_rate, spec.depth))
        in_channels, reduction, dilation = spec.stem_width, 2, 1
        for index, stage in enumerate(spec.stages(), 1):
            stride, first_dilation = 2, dilation
            if reduction * stride > output_stride:
                dilation, stride = dilation * stride, 1
            reduction *= stride
            blocks: OrderedDict[str, nn.Module] = OrderedDict()
            for number in range(1, stage.depth + 1):
                place = BlockPlace(stage, in_channels, stride, dilation, first_dilation, next(rates))
                blocks[f"b{number}"] = make_block(spec, place, norm_act)
                in_channels, stride, first_dilation = stage.channels, 1, dilation
            self.add_module(f"s{index}", nn.Sequential(blocks))
            self.feature_info.append({"num_chs": in_channels, "reduction": reduction, "module": f"s{index}"})
        return in_channels

    def steps(self) -> Iterator[tuple[str, Step]]:
        for level in self.feature_info:
            yield level["module"], self.get_submodule(level["module"])

    def finish(self, x: Tensor) -> Tensor:
        return self.final_conv(x)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1] // module.groups
            nn.init.normal_(module.weight, std=sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        elif isinstance(module, Bottleneck):
            # Each branch starts as zero, so the network as the identity (arXiv:1706.02677, section 5.1).
            nn.init.zeros_(module.get_parameter("conv3.bn.weight"))
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


TORCHVISION_KEYS: KeyTable = {
    r"^stem\.0\.": "stem.conv.",
    r"^stem\.1\.": "stem.bn.",
    r"^trunk_output\.block(\d)\.block\d-(\d+)\.": lambda found: f"s{found[1]}.b{int(found[2]) + 1}.",
    r"\.f\.a\.0\.": ".conv1.conv.",
    r"\.f\.a\.1\.": ".conv1.bn.",
    r"\.f\.b\.0\.": ".conv2.conv.",
    r"\.f\.b\.1\.": ".conv2.bn.",
    r"\.f\.se\.": ".se.",
    r"\.f\.c\.0\.": ".conv3.conv.",
    r"\.f\.c\.1\.": ".conv3.bn.",
    r"\.proj\.0\.": ".downsample.conv.",
    r"\.proj\.1\.": ".downsample.bn.",
    r"^fc\.": "head.fc.",
}


def repair_keys(state_dict: MutableMapping[str, Tensor], model: nn.Module) -> MutableMapping[str, Tensor]:  # noqa: ARG001
    """Rename the keys of torchvision's checkpoints; others stay as they are."""
    if "stem.0.weight" not in state_dict:
        return state_dict
    return rename_keys(state_dict, TORCHVISION_KEYS)
