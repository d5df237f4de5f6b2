"""TResNet: Ridnik et al., High Performance GPU-Dedicated Architecture (arXiv:2003.13630)."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from typing import ClassVar

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.tresnet import TResNetSpec
from zoo.models.base import ImageModel, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.space_to_depth import SpaceToDepth

__getattr__ = family_attributes("tresnet")

# The authors have a leaky ReLU within blocks, with a slope smaller than usual, and a plain one after them.
NORM_ACT = norm_act_factory("batchnorm", "leaky_relu_0.001")


class ResidualBlock(nn.Module):
    """`relu(branch(x) + shortcut(x))`; strides within the branch are anti-aliased."""

    expansion: ClassVar[int]

    def __init__(self, downsample: nn.Module | None, drop_path: float) -> None:
        super().__init__()
        self.downsample = downsample
        self.drop_path = make_drop_path(drop_path)
        self.act = nn.ReLU(inplace=True)

    def branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def last_norm(self) -> nn.Module:
        """The norm that ends the branch."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.act(self.drop_path(self.branch(x)) + shortcut)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions, then attention."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        downsample: nn.Module | None,
        attention: bool,
        drop_path: float,
    ) -> None:
        super().__init__(downsample, drop_path)
        self.conv1 = ConvNormAct(in_channels, channels, 3, stride, norm_act=NORM_ACT, aa_layer="blur")
        self.conv2 = ConvNormAct(channels, channels, 3, norm_act=NORM_ACT, act="identity")
        self.se = SqueezeExcite(channels, hidden=max(channels // 4, 64)) if attention else nn.Identity()

    def branch(self, x: Tensor) -> Tensor:
        return self.se(self.conv2(self.conv1(x)))

    def last_norm(self) -> nn.Module:
        return self.conv2.bn


class Bottleneck(ResidualBlock):
    """1x1, 3x3, attention, 1x1 to four times the width."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        downsample: nn.Module | None,
        attention: bool,
        drop_path: float,
    ) -> None:
        super().__init__(downsample, drop_path)
        out_channels = channels * self.expansion
        self.conv1 = ConvNormAct(in_channels, channels, 1, norm_act=NORM_ACT)
        self.conv2 = ConvNormAct(channels, channels, 3, stride, norm_act=NORM_ACT, aa_layer="blur")
        self.se = SqueezeExcite(channels, hidden=max(out_channels // 8, 64)) if attention else nn.Identity()
        self.conv3 = ConvNormAct(channels, out_channels, 1, norm_act=NORM_ACT, act="identity")

    def branch(self, x: Tensor) -> Tensor:
        return self.conv3(self.se(self.conv2(self.conv1(x))))

    def last_norm(self) -> nn.Module:
        return self.conv3.bn


def make_downsample(in_channels: int, channels: int, stride: int) -> nn.Module | None:
    """The projection of a shortcut, where it needs one: the average of 2x2 pixels, then a 1x1 convolution."""
    if stride == 1 and in_channels == channels:
        return None
    pool = [nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)] if stride == 2 else []
    return nn.Sequential(*pool, ConvNormAct(in_channels, channels, 1, norm_act=NORM_ACT, act="identity"))


class TResNet(ImageModel):
    """Space to depth, a 3x3 convolution, four stages of residual blocks, pooling, classifier `head.fc`.

    Args:
        spec: the variant.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image, whose height and width are multiples of 4.
        global_pool: avg, max, avgmax, catavgmax, or '' with num_classes=0.
        drop_rate, drop_path_rate: dropout before the classifier, stochastic depth of the last block.
    """

    # The first level has the same stride as the second.
    default_out_indices = (1, 2, 3, 4)

    def __init__(
        self,
        spec: TResNetSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        width = spec.width
        stem = ConvNormAct(16 * in_chans, width, 3, norm_act=NORM_ACT, act="leaky_relu")
        self.body = nn.Sequential(OrderedDict(s2d=SpaceToDepth(4), conv1=stem))
        self.feature_info = [{"num_chs": width, "reduction": 4, "module": "body.conv1"}]
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.layers)))
        in_channels = width
        for index, num_blocks in enumerate(spec.layers):
            make_block = BasicBlock if index < 2 and not spec.v2 else Bottleneck
            channels, stage = width * 2**index, nn.Sequential()
            for position in range(num_blocks):
                stride = 2 if index and not position else 1
                downsample = make_downsample(in_channels, channels * make_block.expansion, stride)
                stage.append(
                    make_block(in_channels, channels, stride, downsample, attention=index < 3, drop_path=next(rates))
                )
                in_channels = channels * make_block.expansion
            name = f"layer{index + 1}"
            self.body.add_module(name, stage)
            self.feature_info.append({"num_chs": in_channels, "reduction": 4 * 2**index, "module": f"body.{name}"})
        self.num_features = in_channels
        self.make_head(global_pool)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "body.conv1", self.body[:2]
        for level in self.feature_info[1:]:
            yield level["module"], self.get_submodule(level["module"])

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        elif isinstance(module, ResidualBlock):
            # Each branch starts as zero, so the network as the identity (arXiv:1706.02677, section 5.1).
            nn.init.zeros_(module.last_norm().get_parameter("weight"))


# The authors' convolutions and norms are entries of sequences, which have one more level where there is a pooling.
_SEQUENCES = re.compile(r"(conv\d+|downsample\.\d+)(?:\.0)?\.([01])\.(?=\w+$)")


def repair_keys(state_dict: MutableMapping[str, Tensor], model: nn.Module) -> MutableMapping[str, Tensor]:  # noqa: ARG001 - the call has both
    """Rename the layers of the authors' own files.

    Their norms are in-place activated (arXiv:1712.02616), which scale by `abs(weight) + eps`.
    """
    if "body.conv1.conv.weight" in state_dict:
        return state_dict
    repaired: MutableMapping[str, Tensor] = {}
    for key, value in state_dict.items():
        key = _SEQUENCES.sub(lambda found: f"{found[1]}.{('conv', 'bn')[int(found[2])]}.", key)
        repaired[key] = value.abs() + 1e-5 if key.endswith("bn.weight") else value
    return repaired
