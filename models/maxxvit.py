"""CoAtNet, MaxViT and their relatives: convolutions in front, or in each block, of attention with relative positions.

Dai et al., CoAtNet: Marrying Convolution and Attention for All Data Sizes (arXiv:2106.04803): stages of convolutions,
then stages of attention over the whole map. Tu et al., MaxViT: Multi-Axis Vision Transformer (arXiv:2204.01697): each
block is a convolution, attention within windows, attention within grids. CoAtNeXt and MaxxViT have the convolution of
ConvNeXt (arXiv:2201.03545).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.maxxvit import MaxxVitSpec
from zoo.core.errors import UsageError
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import attend, check_heads
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.init import grouped_fan_out
from zoo.models.layers.layer_scale import LayerScale2d
from zoo.models.layers.log_position_bias import LogPositionBias, biases_of_pairs
from zoo.models.layers.mlp import Mlp, pointwise
from zoo.models.layers.norm import norm_factory, token_norm_factory
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.patch_embed import as_pair, check_image_size
from zoo.models.layers.relative_position import RelativePositionBias, relative_position_index
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock
from zoo.models.layers.window import Size, merge_grid, merge_windows, partition_grid, partition_windows

__getattr__ = family_attributes("maxxvit")

# ---------------------------------------------------------------- attention


class OffsetPlanes(nn.Module):
    """`forward()` gives biases (1, heads, cells, cells), from planes of offsets as in TensorFlow."""

    relative_position_index: Tensor

    def __init__(self, window: Size, num_heads: int) -> None:
        super().__init__()
        height, width = window
        self.relative_position_bias_table = nn.Parameter(torch.empty(num_heads, 2 * height - 1, 2 * width - 1))
        # Offsets are from query to key here.
        index = relative_position_index(window).T.contiguous()
        self.register_buffer("relative_position_index", index, persistent=False)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.relative_position_bias_table, std=0.02)

    def forward(self) -> Tensor:
        return biases_of_pairs(self.relative_position_bias_table.flatten(1), self.relative_position_index)


class MaxxVitAttention(nn.Module):
    """Self-attention over the cells of a window, which have biases: tokens (N, L, C) or, with `use_conv`, maps.

    Args:
        spec: what heads and biases are.
        channels, out_channels: of input and output.
        width: channels of all heads.
        window: (height, width) of the cells.
        use_conv: 1x1 convolutions on (N, C, H, W) instead of linear layers on (N, L, C).
    """

    def __init__(
        self, spec: MaxxVitSpec, channels: int, out_channels: int, width: int, window: Size, use_conv: bool = False
    ) -> None:
        super().__init__()
        self.num_heads = width // spec.dim_head
        check_heads(width, self.num_heads)
        self.head_first, self.use_conv = spec.head_first, use_conv
        self.qkv = pointwise(channels, 3 * width, use_conv=use_conv)
        self.rel_pos = self._make_positions(spec, window)
        self.proj = pointwise(width, out_channels, use_conv=use_conv)

    def _make_positions(self, spec: MaxxVitSpec, window: Size) -> nn.Module:
        if spec.rel_pos_type == "mlp":
            return LogPositionBias(window, self.num_heads, spec.rel_pos_dim)
        make = OffsetPlanes if spec.rel_pos_type == "bias_tf" else RelativePositionBias
        return make(window, self.num_heads)

    def forward(self, x: Tensor) -> Tensor:
        size, x = x.shape[2:], self.qkv(x)
        if self.use_conv:
            x = x.permute(0, 2, 3, 1).flatten(1, 2).contiguous()
        if self.head_first:
            q, k, v = x.unflatten(2, (self.num_heads, 3, -1)).permute(3, 0, 2, 1, 4).unbind(0)
        else:
            q, k, v = x.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        x = attend(q, k, v, self.rel_pos())
        return self.proj(x.transpose(1, 2).unflatten(2, size) if self.use_conv else x)


class WholeMapBlock(nn.Module):
    """CoAtNet's attention over the whole map (N, C, H, W) and its perceptron, each behind a norm and with a shortcut.

    With stride 2 the normed map and the shortcut are pooled; the attention changes the number of channels.
    """

    def __init__(
        self, spec: MaxxVitSpec, in_channels: int, channels: int, stride: int, drop_path: float, *, size: Size
    ) -> None:
        super().__init__()
        norm = norm_factory(spec.norm_layer, spec.norm_eps)
        self.shortcut: nn.Module = nn.Identity()
        self.norm1 = norm(in_channels)
        if stride == 2:
            self.shortcut = downsample(spec.pool_type, in_channels, channels, bias=spec.shortcut_bias)
            down = downsample(spec.pool_type, in_channels, in_channels)
            self.norm1 = nn.Sequential(OrderedDict(norm=norm(in_channels), down=down))
        width = channels if spec.expand_first else in_channels
        self.attn = MaxxVitAttention(spec, in_channels, channels, width, size, use_conv=True)
        self.ls1 = scale2d(channels, spec.init_values)
        self.norm2 = norm(channels)
        self.mlp = Mlp(channels, 4 * channels, act=spec.act_layer, use_conv=True)
        self.ls2 = scale2d(channels, spec.init_values)
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shortcut(x) + self.drop_path(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))


class PartitionBlock(TransformerBlock):
    """MaxViT's transformer block on (N, H, W, C): its attention is within windows, or in grids spread over the map."""

    def __init__(self, spec: MaxxVitSpec, channels: int, drop_path: float, *, grid: bool) -> None:
        def make_attn(*_: Any, **__: Any) -> nn.Module:
            return MaxxVitAttention(spec, channels, channels, channels, spec.partition)

        super().__init__(block_style(spec, channels), drop_path, attn=make_attn)
        self.partition, self.grid = spec.partition, grid

    def attend(self, x: Tensor, *_: Tensor | None) -> Tensor:
        return attend_in_parts(x, self.partition, self.grid, self.attn)


class ParallelPartitionBlock(TransformerBlock):
    """The same with half of the channels from windows and half from grids."""

    def __init__(self, spec: MaxxVitSpec, channels: int, drop_path: float) -> None:
        def make_attn(*_: Any, **__: Any) -> nn.Module:
            return MaxxVitAttention(spec, channels, channels // 2, channels, spec.partition)

        super().__init__(block_style(spec, channels), drop_path, attn=make_attn)
        self.partition = spec.partition
        del self.attn  # there are two
        self.attn_block, self.attn_grid = make_attn(), make_attn()

    def attend(self, x: Tensor, *_: Tensor | None) -> Tensor:
        windows = attend_in_parts(x, self.partition, False, self.attn_block)
        return torch.cat([windows, attend_in_parts(x, self.partition, True, self.attn_grid)], -1)


def attend_in_parts(x: Tensor, part: Size, grid: bool, attention: nn.Module) -> Tensor:
    """Map (N, H, W, C) -> (N, H, W, D), what the attention makes of each window or grid."""
    partition, merge = (partition_grid, merge_grid) if grid else (partition_windows, merge_windows)
    return merge(attention(partition(x, part)), part, (x.shape[1], x.shape[2]))


def block_style(spec: MaxxVitSpec, channels: int) -> BlockStyle:
    norm = token_norm_factory(spec.norm_layer, spec.norm_eps)
    return BlockStyle.of(spec, embed_dim=channels, num_heads=channels // spec.dim_head, norm=norm)


# ---------------------------------------------------------------- convolutions and blocks


def downsample(pool: str, in_channels: int, channels: int, bias: bool = True) -> nn.Sequential:
    """Half the resolution: `pool` is "avg2", of two by two, or "max", of three by three; then other channels."""
    parts = OrderedDict[str, nn.Module](pool=nn.AvgPool2d(2) if pool == "avg2" else nn.MaxPool2d(3, 2, 1))
    parts["expand"] = nn.Identity() if in_channels == channels else nn.Conv2d(in_channels, channels, 1, bias=bias)
    return nn.Sequential(parts)


def scale2d(channels: int, initial: float) -> nn.Module:
    return LayerScale2d(channels, initial) if initial else nn.Identity()


def mbconv(spec: MaxxVitSpec, in_channels: int, channels: int, stride: int, drop_path: float) -> ResidualBlock:
    """MBConv behind a norm, whose shortcut is pooled (arXiv:2106.04803, appendix A.1)."""
    measure = channels if spec.expand_output else in_channels
    width = make_divisible(4 * measure)
    norm_act = norm_act_factory("batchnorm", spec.conv_act_layer, spec.conv_norm_eps)
    hidden = int(spec.se_ratio * (channels if spec.expand_output else width))
    squeeze = SqueezeExcite(width, act=spec.se_act_layer, hidden=hidden)
    behind: dict[str, nn.Module] = {"norm2": norm_act(width), "se": squeeze}
    if spec.se_early:
        behind = {"se_early": squeeze, "norm2": norm_act(width)}
    pooled = spec.stride_mode == "pool"
    parts: dict[str, nn.Module | None] = {
        "shortcut": conv_shortcut(spec.pool_type, in_channels, channels, stride, spec.conv_bias),
        "pre_norm": norm_act(in_channels) if spec.pre_norm_act else norm_act(in_channels, act="identity"),
        "down": conv_shortcut("avg2", in_channels, in_channels, stride if pooled else 1),
        "conv1_1x1": make_conv(in_channels, width, 1),
        "norm1": norm_act(width),
        "conv2_kxk": make_conv(width, width, 3, 1 if pooled else stride, groups=width, pad_type=spec.pad_type),
        **behind,
        "conv3_1x1": make_conv(width, channels, 1, bias=spec.conv_bias),
        "drop_path": make_drop_path(drop_path),
    }
    return ResidualBlock(parts, shortcut="shortcut")


def convnext(spec: MaxxVitSpec, in_channels: int, channels: int, stride: int, drop_path: float) -> ResidualBlock:
    """ConvNeXt's block, whose depthwise convolution may have a stride and the shortcut is then pooled."""
    parts: dict[str, nn.Module | None] = {
        "shortcut": conv_shortcut("avg2", in_channels, channels, stride),
        "conv_dw": make_conv(in_channels, channels, 7, stride, groups=in_channels, bias=True),
        "norm": norm_factory("layernorm", spec.conv_norm_eps)(channels),
        "mlp": Mlp(channels, 4 * channels, act=spec.conv_act_layer, use_conv=True),
        "ls": scale2d(channels, spec.conv_init_values),
        "drop_path": make_drop_path(drop_path),
    }
    return ResidualBlock(parts, shortcut="shortcut")


def conv_shortcut(pool: str, in_channels: int, channels: int, stride: int, bias: bool = True) -> nn.Module:
    return downsample(pool, in_channels, channels, bias) if stride == 2 else nn.Identity()


CONVOLUTIONS = {"mbconv": mbconv, "convnext": convnext}


class MaxxVitBlock(nn.Module):
    """Convolutions, then blocks of attention on (N, H, W, C), by name in the order in which they run."""

    def __init__(self, conv: nn.Module, attention: dict[str, nn.Module]) -> None:
        super().__init__()
        self.conv = conv
        self.in_order = list(attention)
        for name, block in attention.items():
            self.add_module(name, block)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        for name in self.in_order:
            x = getattr(self, name)(x)
        return x.permute(0, 3, 1, 2)


def make_block(
    spec: MaxxVitSpec, kind: str, in_channels: int, channels: int, stride: int, drop_path: float, size: Size
) -> nn.Module:
    """A block of a kind, as `MaxxVitSpec.block_type` says, whose output is a map of this size."""
    if kind == "T":
        return WholeMapBlock(spec, in_channels, channels, stride, drop_path, size=size)
    make_conv_block = CONVOLUTIONS[spec.conv_type]
    conv: nn.Module = make_conv_block(spec, in_channels, channels, stride, drop_path)
    if kind == "C":
        return conv
    if kind == "PM":
        conv = nn.Sequential(conv, make_conv_block(spec, channels, channels, 1, drop_path))
        return MaxxVitBlock(conv, {"attn": ParallelPartitionBlock(spec, channels, drop_path)})
    grids = {"attn_grid": True} if spec.no_block_attn else {"attn_block": False, "attn_grid": True}
    return MaxxVitBlock(
        conv, {name: PartitionBlock(spec, channels, drop_path, grid=grid) for name, grid in grids.items()}
    )


# ---------------------------------------------------------------- the network


class MaxxVit(ConvNet):
    """Stem of two convolutions, four stages that each halve the map, norm, pooling, classifier `head.fc`.

    With `head_hidden_size` the norm is behind the pooling, and a layer follows it. Windows are made for images of
    `img_size`; where a stage attends to the whole map, images have that size, else it divides their sides.
    """

    spec: MaxxVitSpec
    img_size: Size

    @property
    def embed_dim(self) -> int:
        return self.num_features

    def build(self, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        self.img_size = as_pair(spec.img_size)
        if any(side % 32 for side in self.img_size):
            raise UsageError(f"The sides of an image must be multiples of 32, found {spec.img_size}.")
        first, channels = spec.stem_width
        conv = partial(make_conv, pad_type=spec.pad_type, bias=spec.stem_bias)
        norm_name = "layernorm" if spec.conv_type == "convnext" else "batchnorm"
        norm1 = norm_act_factory(norm_name, spec.conv_act_layer, spec.conv_norm_eps)(first)
        parts = {"conv1": conv(self.in_chans, first, 3, 2), "norm1": norm1, "conv2": conv(first, channels, 3)}
        self.stem = nn.Sequential(OrderedDict(parts))
        self.add_level(channels, 2, "stem")
        self.stages = nn.Sequential()
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.depths)))
        for index, (width, depth) in enumerate(zip(spec.embed_dim, spec.depths, strict=True)):
            reduction = 4 << index
            size = self.img_size[0] // reduction, self.img_size[1] // reduction
            kinds = spec.block_type[index]
            blocks = nn.Sequential()
            for position in range(depth):
                kind = kinds if isinstance(kinds, str) else kinds[min(position, len(kinds) - 1)]
                stride = 1 if position else 2
                blocks.append(make_block(spec, kind, channels, width, stride, next(rates), size))
                channels = width
            self.stages.append(nn.Sequential(OrderedDict(blocks=blocks)))
            self.add_level(width, reduction, f"stages.{index}")
        self.num_features = channels
        norm = norm_factory(spec.norm_layer, spec.norm_eps)
        self.norm = nn.Identity() if spec.head_hidden_size else norm(channels)
        if spec.head_hidden_size:
            self.head = NormMlpHead(channels, norm, spec.head_hidden_size, act="tanh")

    def steps(self) -> Iterator[tuple[str, Step]]:
        steps = super().steps()
        next(steps)
        yield "stem", self.read_image
        yield from steps

    def read_image(self, x: Tensor) -> Tensor:
        """What the stem makes of an image; raises UsageError where windows do not fit it."""
        attends_to_all = any("T" in kinds for kinds in self.spec.block_type)
        if attends_to_all or x.shape[2] % self.img_size[0] or x.shape[3] % self.img_size[1]:
            check_image_size(x, self.img_size)
        return self.stem(x)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.head(x, is_map=not self.pools) if self.spec.head_hidden_size else x

    def classifier_width(self, pooled: int) -> int:
        return self.head.width(pooled) if self.spec.head_hidden_size else pooled

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if not isinstance(module, nn.Conv2d | nn.Linear) or name.startswith("head."):
            return
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if self.spec.weight_init == "normal":
            nn.init.normal_(module.weight, std=0.02)
        elif ".attn" in name or self._is_attention(name):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None and "mlp" in name:
                nn.init.normal_(module.bias, std=1e-6)
        else:
            grouped_fan_out(module)

    def _is_attention(self, name: str) -> bool:
        """Whether the module at a path is a part of attention over the whole map."""
        path = name.split(".")
        return path[0] == "stages" and isinstance(self.get_submodule(".".join(path[:4])), WholeMapBlock)


def repair_keys(state_dict: Mapping[str, Tensor], model: MaxxVit) -> dict[str, Tensor]:
    """Weights of linear layers where the model has 1x1 convolutions, and the other way round."""
    own, repaired = model.state_dict(), dict(state_dict)
    for key, value in state_dict.items():
        shape = own[key].shape if key in own else value.shape
        if value.ndim != len(shape) and value.numel() == shape.numel():
            repaired[key] = value.reshape(shape)
    return repaired
