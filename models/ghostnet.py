"""GhostNet: Han et al. (arXiv:1911.11907), version 2 (arXiv:2211.12905) and version 3 (arXiv:2404.11202).

Half of the maps of a pointwise convolution are made from the other half, by a cheap depthwise one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, MutableMapping

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.block_rows import Conv, make_divisible
from zoo.core.architectures.configs.ghostnet import FINAL_CHANNELS, STAGES, GhostNetSpec, GhostRow
from zoo.models.base import Step
from zoo.models.conv_head import ConvHead
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import rename_keys
from zoo.models.layers.activation import make_activation
from zoo.models.layers.branch_sum import BranchSum
from zoo.models.layers.channel_attention import MBConvSqueezeExcite
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.linear_map import Diagonal, sum_of_normed
from zoo.models.layers.mbconv import BlockStyle, make_block
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("ghostnet")

NUM_BRANCHES = 3


def conv_norm(
    in_channels: int, channels: int, kernel: int | tuple[int, int] = 1, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    """Convolution and norm."""
    return make_conv(in_channels, channels, kernel, stride, groups=groups), nn.BatchNorm2d(channels)


class LongRangeGate(nn.Sequential):
    """Attention of version 2: at half the resolution, along rows and then columns, a gate for each output."""

    def __init__(self, in_channels: int, channels: int) -> None:
        rows, columns = (conv_norm(channels, channels, kernel, groups=channels) for kernel in ((1, 5), (5, 1)))
        super().__init__(*conv_norm(in_channels, channels), *rows, *columns)

    def forward(self, x: Tensor) -> Tensor:
        gate = super().forward(F.avg_pool2d(x, 2)).sigmoid()
        return F.interpolate(gate, size=x.shape[-2:], mode="nearest")


class GhostModule(nn.Module):
    """A pointwise convolution to half the channels, the other half from these; scaled by a gate where there is one."""

    def __init__(self, primary_conv: nn.Module, cheap_operation: nn.Module, short_conv: nn.Module | None) -> None:
        super().__init__()
        self.primary_conv, self.cheap_operation, self.short_conv = primary_conv, cheap_operation, short_conv

    @classmethod
    def make(cls, in_channels: int, half: int, act: str, gate: nn.Module | None) -> nn.Module:
        """Each half is a convolution, a norm and an activation."""
        primary = nn.Sequential(*conv_norm(in_channels, half), make_activation(act))
        cheap = nn.Sequential(*conv_norm(half, half, 3, groups=half), make_activation(act))
        return cls(primary, cheap, gate)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = self.primary_conv(x)
        return first, self.cheap_operation(first)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.cat(self.halves(x), 1)
        return maps if self.short_conv is None else maps * self.short_conv(x)


def make_branch(in_channels: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and norm under names."""
    conv, norm = conv_norm(in_channels, channels, kernel, stride, groups)
    return nn.Sequential(OrderedDict(conv=conv, bn1=norm))


class BranchedGhostModule(nn.Module):
    """Version 3: both convolutions are sums of branches."""

    def __init__(self, in_channels: int, half: int, act: str, gate: nn.Module | None) -> None:
        super().__init__()
        self.primary_rpr_conv = BranchSum(make_branch(in_channels, half) for _ in range(NUM_BRANCHES))
        self.primary_activation = make_activation(act)
        self.cheap_rpr_skip = nn.BatchNorm2d(half)
        self.cheap_rpr_conv = BranchSum(make_branch(half, half, 3, groups=half) for _ in range(NUM_BRANCHES))
        self.cheap_rpr_scale = make_branch(half, half, groups=half)
        self.cheap_activation = make_activation(act)
        self.short_conv = gate

    def forward(self, x: Tensor) -> Tensor:
        first = self.primary_activation(self.primary_rpr_conv(x))
        cheap = self.cheap_rpr_scale(first) + self.cheap_rpr_skip(first) + self.cheap_rpr_conv(first)
        maps = torch.cat((first, self.cheap_activation(cheap)), 1)
        return maps if self.short_conv is None else maps * self.short_conv(x)

    def fuse(self) -> nn.Module:
        """A ghost module of two convolutions without norms."""
        primary = sum_of_normed(self.primary_rpr_conv)
        cheap = sum_of_normed((*self.cheap_rpr_conv, self.cheap_rpr_scale)) + Diagonal.of(self.cheap_rpr_skip)
        return GhostModule(
            nn.Sequential(primary.as_layer(self.primary_rpr_conv.get_submodule("0.conv")), self.primary_activation),
            nn.Sequential(cheap.as_layer(self.cheap_rpr_conv.get_submodule("0.conv")), self.cheap_activation),
            self.short_conv,
        )


class BranchedBottleneck(ResidualBlock):
    """Version 3: the strided convolution is a sum of branches."""

    ghost1: nn.Module
    dw_rpr_conv: BranchSum | None
    dw_rpr_scale: nn.Module
    se: nn.Module
    ghost2: nn.Module

    def branch(self, x: Tensor) -> Tensor:
        x = self.ghost1(x)
        if self.dw_rpr_conv is not None:
            x = self.dw_rpr_scale(x) + self.dw_rpr_conv(x)
        out: Tensor = self.ghost2(self.se(x))
        return out

    def fuse(self) -> nn.Module:
        """A block with one strided convolution `conv_dw`, or with none as before."""
        if self.dw_rpr_conv is None:
            return self
        found = sum_of_normed((*self.dw_rpr_conv, self.dw_rpr_scale))
        parts = {
            "ghost1": self.ghost1,
            "conv_dw": found.as_layer(self.dw_rpr_conv.get_submodule("0.conv")),
            "se": self.se,
            "ghost2": self.ghost2,
            "shortcut": self._modules["shortcut"],
        }
        return ResidualBlock(parts, shortcut="shortcut")


def strided_parts(version: str, channels: int, kernel: int, stride: int) -> dict[str, nn.Module | None]:
    """The depthwise convolution of a bottleneck that strides."""
    if version != "v3":
        return dict(zip(("conv_dw", "bn_dw"), conv_norm(channels, channels, kernel, stride, channels), strict=True))
    sizes = [*(kernel,) * NUM_BRANCHES, 1]
    *convs, scale = (make_branch(channels, channels, size, stride, channels) for size in sizes)
    return {"dw_rpr_conv": BranchSum(convs), "dw_rpr_scale": scale}


def make_shortcut(place: BlockPlace, kernel: int) -> nn.Module:
    """Depthwise and pointwise convolution where the shape changes."""
    if place.keeps_shape:
        return nn.Identity()
    depthwise = conv_norm(place.in_channels, place.in_channels, kernel, place.stride, place.in_channels)
    return nn.Sequential(*depthwise, *conv_norm(place.in_channels, place.channels))


class GhostNet(ConvHead, ConvNet):
    """Stem, bottlenecks of two ghost modules each, pooling, a convolution, classifier `classifier`."""

    spec: GhostNetSpec
    default_drop_rate = 0.2
    trunk = ("conv_stem", "act1", "blocks.*")

    def build(self) -> None:
        spec = self.spec
        channels, hidden = spec.scaled(16), iter(map(spec.scaled, spec.hidden))
        self.conv_stem, self.bn1 = conv_norm(self.in_chans, channels, 3, 2)
        self.act1 = make_activation("relu")
        self.add_level(channels, 2, "conv_stem")
        self.blocks = nn.Sequential()
        widths = [[spec.scaled(row.channels) for row in rows] for rows in STAGES]
        walk = walk_stages(widths, channels, 2, strides=[rows[0].stride for rows in STAGES])
        for rows, places in zip(STAGES, walk, strict=True):
            if places[0].stride > 1:
                self.feature_info.append(places[-1].level(f"blocks.{len(self.blocks)}"))
            blocks = (self.make_bottleneck(row, place, next(hidden)) for row, place in zip(rows, places, strict=True))
            self.blocks.append(nn.Sequential(*blocks))
        channels, self.num_features = widths[-1][-1], spec.scaled(FINAL_CHANNELS)
        style = BlockStyle(norm_act_factory("batchnorm", "relu"), "relu")
        final = make_block(style, Conv(channels=self.num_features, kernel=1), BlockPlace(channels, self.num_features))
        self.blocks.append(nn.Sequential(final))

    def make_module(self, in_channels: int, channels: int, act: str, has_gate: bool) -> nn.Module:
        """A ghost module; `has_gate` beyond the first two bottlenecks, where version 2 and 3 have attention."""
        gate = LongRangeGate(in_channels, channels) if has_gate and self.spec.version != "v1" else None
        make = BranchedGhostModule if self.spec.version == "v3" else GhostModule.make
        return make(in_channels, channels // 2, act, gate)

    def make_bottleneck(self, row: GhostRow, place: BlockPlace, hidden: int) -> ResidualBlock:
        version, squeezed = self.spec.version, make_divisible(hidden * row.se_ratio, 4)
        is_branched = version == "v3"
        parts: dict[str, nn.Module | None] = {
            "ghost1": self.make_module(place.in_channels, hidden, "relu", place.stage > 1),
            **({"dw_rpr_conv": None} if is_branched else {}),
            **(strided_parts(version, hidden, row.kernel, place.stride) if place.stride > 1 else {}),
            "se": MBConvSqueezeExcite(hidden, squeezed, "relu", "hard_sigmoid") if row.se_ratio else nn.Identity(),
            "ghost2": self.make_module(hidden, place.channels, "identity", has_gate=False),
            "shortcut": make_shortcut(place, row.kernel),
        }
        return (BranchedBottleneck if is_branched else ResidualBlock)(parts, shortcut="shortcut")

    def steps(self) -> Iterator[tuple[str, Step]]:
        for path, step in super().steps():
            yield path, (lambda x: self.act1(self.bn1(x))) if path == "act1" else step

    def make_hidden_layers(self, pooled: int) -> int:
        self.conv_head, self.act2 = nn.Conv2d(pooled, 1280, 1), make_activation("relu")
        return 1280


# Files of version 3 name the norm of a branch as its authors do.
BRANCH_NORM = {r"(\.(?:ghost\d|dw_rpr_\w+)\..*)\bbn\.": r"\1bn1."}


def repair_keys(state_dict: MutableMapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:  # noqa: ARG001
    """Rename the norms of branches."""
    return rename_keys(state_dict, BRANCH_NORM)


def unused_keys(keys: Collection[str], model: nn.Module) -> set[str]:  # noqa: ARG001
    """What a count of operations left in the authors' files."""
    return {key for key in keys if "total" in key}
