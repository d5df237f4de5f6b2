"""ResNet V2 and Big Transfer: residual blocks with norm and activation before each convolution.

He et al., Identity Mappings in Deep Residual Networks (arXiv:1603.05027); Kolesnikov et al., Big Transfer
(arXiv:1912.11370); Beyer et al., Knowledge distillation: A good teacher is patient and consistent (arXiv:2106.05237).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import partial

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.resnetv2 import ResNetV2Spec
from zoo.models.base import Step
from zoo.models.conv_net import DilatedConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.norm_act import NormActFactory, norm_act_factory
from zoo.models.layers.pool import shortcut_pool
from zoo.models.layers.std_conv import StdConv2d

__getattr__ = family_attributes("resnetv2")

ConvFactory = Callable[..., nn.Conv2d]


def conv_factory(spec: ResNetV2Spec) -> ConvFactory:
    """(in_channels, channels, kernel, stride=1, dilation=1) -> convolution."""
    return partial(StdConv2d, eps=spec.std_eps) if spec.conv_layer == "std" else make_conv


@dataclass(frozen=True)
class BlockPlace:
    """Where in the network a block stands.

    `width` are the channels within it. `first_dilation` is the dilation of its strided convolution: that of the stage
    before, where `output_stride` turned a stride into dilation. `drop_path` is the rate of stochastic depth.
    """

    in_channels: int
    channels: int
    width: int
    stride: int
    dilation: int
    first_dilation: int
    drop_path: float
    opens_stage: bool


def make_downsample(spec: ResNetV2Spec, place: BlockPlace, conv: ConvFactory) -> nn.Module:
    """The projection of a shortcut: a strided 1x1 convolution, or (D) a 2x2 average and a 1x1 convolution."""
    if not spec.avg_down:
        return nn.Sequential(OrderedDict(conv=conv(place.in_channels, place.channels, 1, place.stride)))
    pool = shortcut_pool(place.stride, place.dilation)
    return nn.Sequential(OrderedDict(pool=pool, conv=conv(place.in_channels, place.channels, 1)))


class PreActBlock(nn.Module):
    """What the blocks share: the sum is not activated, and a projected shortcut starts after the first norm."""

    norm1: nn.Module
    drop_path: nn.Module
    downsample: nn.Module | None

    def branch(self, x: Tensor) -> Tensor:
        """From the normed and activated input to what is added to the shortcut."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        shortcut = x if self.downsample is None else self.downsample(normed)
        return self.drop_path(self.branch(normed)) + shortcut


class PreActBasic(PreActBlock):
    """Two 3x3 convolutions, the first with the stride."""

    def __init__(self, spec: ResNetV2Spec, place: BlockPlace, conv: ConvFactory, norm_act: NormActFactory) -> None:
        super().__init__()
        keeps_shape = (place.stride, place.in_channels, place.first_dilation) == (1, place.channels, place.dilation)
        self.downsample = None if keeps_shape else make_downsample(spec, place, conv)
        self.norm1 = norm_act(place.in_channels)
        self.conv1 = conv(place.in_channels, place.width, 3, place.stride, dilation=place.first_dilation)
        self.norm2 = norm_act(place.width)
        self.conv2 = conv(place.width, place.channels, 3, dilation=place.dilation)
        self.drop_path = make_drop_path(place.drop_path)

    def branch(self, x: Tensor) -> Tensor:
        return self.conv2(self.norm2(self.conv1(x)))


class PreActBottleneck(PreActBlock):
    """1x1, 3x3 with the stride, 1x1; the first block of a stage always projects its shortcut."""

    def __init__(self, spec: ResNetV2Spec, place: BlockPlace, conv: ConvFactory, norm_act: NormActFactory) -> None:
        super().__init__()
        self.downsample = make_downsample(spec, place, conv) if place.opens_stage else None
        self.norm1 = norm_act(place.in_channels)
        self.conv1 = conv(place.in_channels, place.width, 1)
        self.norm2 = norm_act(place.width)
        self.conv2 = conv(place.width, place.width, 3, place.stride, dilation=place.first_dilation)
        self.norm3 = norm_act(place.width)
        self.conv3 = conv(place.width, place.channels, 1)
        self.drop_path = make_drop_path(place.drop_path)

    def branch(self, x: Tensor) -> Tensor:
        return self.conv3(self.norm3(self.conv2(self.norm2(self.conv1(x)))))


class PointwiseClassifier(nn.Conv2d):
    """A linear classifier whose weight is kept as that of a 1x1 convolution: (N, C) -> (N, classes)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.flatten(1), self.bias)


def make_stem(
    spec: ResNetV2Spec, in_chans: int, width: int, conv: ConvFactory, norm_act: NormActFactory
) -> nn.Sequential:
    stem: OrderedDict[str, nn.Module] = OrderedDict()
    if spec.stem_type:
        first, second = width // 2 if spec.stem_type == "deep" else width // 8 * 3, width // 2
        stem["conv1"] = conv(in_chans, first, 3, 2)
        stem["norm1"] = norm_act(first)
        stem["conv2"] = conv(first, second, 3)
        stem["norm2"] = norm_act(second)
        stem["conv3"] = conv(second, width, 3)
    else:
        stem["conv"] = conv(in_chans, width, 7, 2)
    if spec.stem_pad == "zero":
        stem["pad"] = nn.ZeroPad2d(1)
    stem["pool"] = nn.MaxPool2d(3, stride=2, padding=0 if spec.stem_pad == "zero" else 1)
    return nn.Sequential(stem)


class ResNetV2(DilatedConvNet):
    """Stem, four stages, norm, pooling, classifier `head.fc`."""

    spec: ResNetV2Spec

    def build(self, output_stride: int, drop_path_rate: float) -> None:
        spec, in_chans = self.spec, self.in_chans
        conv, norm_act = conv_factory(spec), norm_act_factory(spec.norm_layer, spec.act_layer)
        width = make_divisible(spec.stem_width * spec.width_factor)
        self.stem = make_stem(spec, in_chans, width, conv, norm_act)
        last_conv = "stem.conv3" if spec.stem_type else "stem.conv"
        self.feature_info = [{"num_chs": width, "reduction": 2, "module": last_conv}]
        self.stages = nn.Sequential()
        make_block = partial(
            PreActBasic if spec.block == "basic" else PreActBottleneck, spec, conv=conv, norm_act=norm_act
        )
        for places in self._places(spec, output_stride, drop_path_rate):
            self.stages.append(nn.Sequential(OrderedDict(blocks=nn.Sequential(*map(make_block, places)))))
        self.num_features = self.feature_info[-1]["num_chs"]
        self.norm = norm_act(self.num_features)

    def _places(self, spec: ResNetV2Spec, output_stride: int, drop_path_rate: float) -> Iterator[list[BlockPlace]]:
        """The places of the blocks of each stage; adds the stage to `feature_info`."""
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.layers)))
        in_channels, reduction, dilation = self.feature_info[0]["num_chs"], 4, 1
        for index, (depth, base_channels) in enumerate(zip(spec.layers, spec.channels, strict=True)):
            channels = make_divisible(base_channels * spec.width_factor)
            width = make_divisible(channels * spec.bottle_ratio)
            stride, first_dilation = 1 if index == 0 else 2, dilation
            if reduction * stride > output_stride:
                dilation, stride = dilation * stride, 1
            reduction *= stride
            places = []
            for position in range(depth):
                first = position == 0
                places.append(
                    BlockPlace(
                        in_channels if first else channels,
                        channels,
                        width,
                        stride=stride if first else 1,
                        dilation=dilation,
                        first_dilation=first_dilation if first else dilation,
                        drop_path=next(rates),
                        opens_stage=first,
                    )
                )
            self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": f"stages.{index}"})
            in_channels = channels
            yield places

    def make_classifier(self) -> nn.Module:
        return PointwiseClassifier(self.head_hidden_size, self.num_classes) if self.num_classes else nn.Identity()

    def steps(self) -> Iterator[tuple[str, Step]]:
        for part in ("stem", "stages"):
            for name, module in self.get_submodule(part).named_children():
                yield f"{part}.{name}", module

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, PointwiseClassifier):
            nn.init.normal_(module.weight, std=0.01)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)


# Of the published npz files, whose kernels are (height, width, in, out).
NPZ_KEYS: KeyTable = {
    r"^resnet/": "",
    r"/(kernel|gamma)$": ".weight",
    r"/(bias|beta)$": ".bias",
    r"^root_block/standardized_conv2d": "stem.conv",
    r"^group_norm": "norm",
    r"^head/conv2d": "head.fc",
    r"^block(\d)/unit(\d\d)/": lambda found: f"stages.{int(found[1]) - 1}.blocks.{int(found[2]) - 1}.",
    r"a/proj/standardized_conv2d": "downsample.conv",
    r"\b([abc])/standardized_conv2d": lambda found: f"conv{'_abc'.index(found[1])}",
    r"\b([abc])/group_norm": lambda found: f"norm{'_abc'.index(found[1])}",
}


def repair_keys(state_dict: MutableMapping[str, Tensor], model: nn.Module) -> MutableMapping[str, Tensor]:  # noqa: ARG001
    """Rename and transpose the arrays of Google's npz files; other state dicts stay as they are."""
    if not any(key.endswith("root_block/standardized_conv2d/kernel") for key in state_dict):
        return state_dict
    renamed = rename_keys(state_dict, NPZ_KEYS)
    return {key: value.permute(3, 2, 0, 1).contiguous() if value.ndim == 4 else value for key, value in renamed.items()}
