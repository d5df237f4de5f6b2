"""CoaT: Xu et al., Co-Scale Conv-Attentional Image Transformers (arXiv:2104.06399).

A pyramid of four scales, each a class token and a map, with attention whose cost grows with the number of cells alone
and convolutions that tell positions. Where there are parallel blocks, the three coarser scales then exchange what they
found. The trunk carries a list of scales, each of them [class token (N, 1, C), map (N, H, W, C)].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.coat import CoatSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import check_heads, merge_heads
from zoo.models.layers.conv_embed import ConvEmbed
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import as_pair
from zoo.models.layers.position_conv import PositionConv
from zoo.models.layers.tracing import leaf_function, listed, same
from zoo.models.layers.transformer_block import BlockStyle
from zoo.models.token_model import TokenModel

__getattr__ = family_attributes("coat")

Scale = list[Tensor]
"""A class token (N, 1, C) and a map (N, H, W, C)."""

WINDOWS = {3: 2, 5: 3, 7: 3}
"""Side of a window -> how many heads see positions within it."""
PARALLEL = 2, 3, 4
"""The scales that parallel blocks work on, counted from 1."""


def to_tokens(scale: Scale) -> Tensor:
    """(N, 1 + H * W, C), the class token first."""
    return torch.cat([scale[0], scale[1].flatten(1, 2)], 1)


def to_scale(tokens: Tensor, size: Size) -> Scale:
    """The inverse of `to_tokens` for a map of this height and width."""
    return [tokens[:, :1], tokens[:, 1:].unflatten(1, size)]


def depthwise(channels: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)


class RelativePositionConv(nn.Module):
    """The values around each cell of a map (N, H, W, C), weighted by where they are, in the windows of its heads."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.widths = [heads * channels // num_heads for heads in WINDOWS.values()]
        self.conv_list = nn.ModuleList(map(depthwise, self.widths, WINDOWS))

    def forward(self, values: Tensor) -> Tensor:
        parts = listed(values.permute(0, 3, 1, 2).split(self.widths, 1), len(self.widths))
        return torch.cat([conv(part) for conv, part in zip(self.conv_list, parts, strict=True)], 1).permute(0, 2, 3, 1)


class FactoredAttention(nn.Module):
    """`q (softmax(k)^T v) / sqrt(D)`, and for cells what is around them: tokens (N, 1 + H * W, C) -> the same."""

    def __init__(self, style: BlockStyle, crpe: RelativePositionConv) -> None:
        super().__init__()
        channels, self.num_heads = style.embed_dim, style.num_heads
        check_heads(channels, style.num_heads)
        self.scale = (channels // style.num_heads) ** -0.5
        self.qkv = nn.Linear(channels, 3 * channels, bias=style.qkv_bias is True)
        self.proj = nn.Linear(channels, channels)
        self.proj_drop = nn.Dropout(style.proj_drop)
        self.crpe = crpe

    def forward(self, x: Tensor, size: Size) -> Tensor:
        qkv = self.qkv(x)
        q, k, v = qkv.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        found = merge_heads(q @ (k.softmax(2).transpose(-2, -1) @ v)) * self.scale
        queries, _, values = qkv[:, 1:].chunk(3, 2)
        around = queries * self.crpe(values.unflatten(1, size)).flatten(1, 2)
        return self.proj_drop(self.proj(torch.cat([found[:, :1], found[:, 1:] + around], 1)))


class SerialBlock(nn.Module):
    """Positions, attention and a perceptron within one scale."""

    def __init__(self, style: BlockStyle, cpe: PositionConv, crpe: RelativePositionConv, drop_path: float) -> None:
        super().__init__()
        self.cpe = cpe
        self.norm1 = style.make_norm()
        self.factoratt_crpe = FactoredAttention(style, crpe)
        self.drop_path = make_drop_path(drop_path)
        self.norm2 = style.make_norm()
        self.mlp = style.make_mlp()

    def forward(self, scale: Scale) -> Scale:
        size = (scale[1].shape[1], scale[1].shape[2])
        x = to_tokens([scale[0], self.cpe(scale[1])])
        x = x + self.drop_path(self.factoratt_crpe(self.norm1(x), size))
        return to_scale(x + self.drop_path(self.mlp(self.norm2(x))), size)


@leaf_function
def resized(tokens: Tensor, size: Size, new_size: Size) -> Tensor:
    """A scale's tokens for a map of another height and width; the class token stays."""
    if size == new_size:
        return tokens
    class_token, cells = to_scale(tokens, size)
    cells = F.interpolate(cells.permute(0, 3, 1, 2), size=new_size, mode="bilinear", align_corners=False)
    return to_tokens([class_token, cells.permute(0, 2, 3, 1)])


class ParallelBlock(nn.Module):
    """Attention within each of three scales, whose results all of them share, and one perceptron for all."""

    def __init__(self, style: BlockStyle, crpes: Sequence[RelativePositionConv], drop_path: float) -> None:
        super().__init__()
        mlp = style.make_mlp()
        for scale, crpe in zip(PARALLEL, crpes, strict=True):
            self.add_module(f"norm1{scale}", style.make_norm())
            self.add_module(f"factoratt_crpe{scale}", FactoredAttention(style, crpe))
            self.add_module(f"norm2{scale}", style.make_norm())
            self.add_module(f"mlp{scale}", mlp)
        self.drop_path = make_drop_path(drop_path)

    def forward(self, tokens: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        """Tokens of the three scales, and height and width of their maps."""
        found = [
            getattr(self, f"factoratt_crpe{scale}")(getattr(self, f"norm1{scale}")(x), size)
            for scale, x, size in zip(PARALLEL, tokens, sizes, strict=True)
        ]
        out = []
        for scale, x, size in zip(PARALLEL, tokens, sizes, strict=True):
            shared = [resized(other, other_size, size) for other, other_size in zip(found, sizes, strict=True)]
            x = x + self.drop_path(torch.stack(shared).sum(0))
            out.append(x + self.drop_path(getattr(self, f"mlp{scale}")(getattr(self, f"norm2{scale}")(x))))
        return out


class ParallelBlocks(nn.ModuleList):
    def forward(self, scales: Sequence[Scale], cpes: Sequence[PositionConv]) -> list[Scale]:
        """All blocks, in front of each of which the scales' cells are told their positions."""
        sizes = [(cells.shape[1], cells.shape[2]) for _, cells in scales]
        for block in self:
            tokens = [to_tokens([token, cpe(cells)]) for (token, cells), cpe in zip(scales, cpes, strict=True)]
            scales = list(map(to_scale, block(tokens, sizes), sizes))
        return list(scales)


class CoaT(TokenModel):
    """Four scales of embedding and serial blocks, parallel blocks where the spec has any, norms, classifier `head`.

    `forward_features` gives the tokens (N, 1 + cells, C) of the last scale, or with parallel blocks a list of those of
    the three coarser scales, whose pooled vectors `aggregate` weighs.

    Args:
        spec: the variant.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        global_pool: token, avg, max, avgmax, or '' with num_classes=0, which leaves the tokens of the last scale.
        img_size: of the images, (height, width) or the side; the weights do not depend on it.
        drop_rate: dropout before the classifier.
        proj_drop_rate, drop_path_rate: dropout within, stochastic depth of every block.
    """

    num_prefix_tokens = 1
    num_level_prefix_tokens = 0
    default_out_indices = 4
    head_parts = ("aggregate", "global_pool")
    last_norm = "norm4"

    def __init__(
        self,
        spec: CoatSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "token",
        img_size: int | Size = 224,
        drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        if min(as_pair(img_size)) < 8 * spec.patch_size:
            raise UsageError(f"The sides of an image must be {8 * spec.patch_size} or more, found {img_size}.")
        self.spec = spec
        norm = token_norm_factory()
        styles = [
            BlockStyle.of(spec, embed_dim=channels, mlp_ratio=ratio, norm=norm, proj_drop=proj_drop_rate)
            for channels, ratio in zip(spec.embed_dims, spec.mlp_ratios, strict=True)
        ]
        crpes = []
        channels = in_chans
        for scale, (style, depth) in enumerate(zip(styles, spec.serial_depths, strict=True), 1):
            stride = spec.patch_size if scale == 1 else 2
            self.add_module(f"patch_embed{scale}", ConvEmbed(channels, style.embed_dim, stride, stride))
            channels = style.embed_dim
            self.register_parameter(f"cls_token{scale}", nn.Parameter(torch.empty(1, 1, channels)))
            cpe, crpe = PositionConv(channels, channels_last=True), RelativePositionConv(channels, spec.num_heads)
            self.add_module(f"cpe{scale}", cpe)
            self.add_module(f"crpe{scale}", crpe)
            crpes.append(crpe)
            blocks = nn.Sequential(*(SerialBlock(style, cpe, crpe, drop_path_rate) for _ in range(depth)))
            self.add_module(f"serial_blocks{scale}", blocks)
        self.normed = PARALLEL if spec.parallel_depth else PARALLEL[-1:]
        if spec.parallel_depth:
            self.parallel_blocks = ParallelBlocks(
                ParallelBlock(styles[-1], crpes[1:], drop_path_rate) for _ in range(spec.parallel_depth)
            )
            self.aggregate = nn.Conv1d(len(PARALLEL), 1, 1)
        for scale in self.normed:
            self.add_module(f"norm{scale}", norm(spec.embed_dims[scale - 1]))
        self.feature_info = [self._level(scale) for scale in range(1, 5)]
        self.num_features = channels
        self.make_head(global_pool)

    def _level(self, scale: int) -> dict[str, Any]:
        level = {"num_chs": self.spec.embed_dims[scale - 1], "reduction": self.spec.patch_size * 2 ** (scale - 1)}
        if scale in PARALLEL and self.spec.parallel_depth:
            return level | {"module": "parallel_blocks", "name": f"parallel_blocks.scale{scale}"}
        return level | {"module": f"serial_blocks{scale}"}

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] | None = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        kept = super().prune_intermediate_layers(indices, prune_norm, prune_head)
        for scale in range(1, 5):
            if f"serial_blocks{scale}" not in self._modules:
                self.register_parameter(f"cls_token{scale}", None)
        return kept

    def reset_parameters(self) -> None:
        for token in self._parameters.values():
            if token is not None:
                nn.init.trunc_normal_(token, std=0.02)

    # ------------------------------------------------------------ forward

    def steps(self) -> Iterator[tuple[str, Step]]:
        for scale in range(1, 5):
            yield f"serial_blocks{scale}", partial(self._run_scale, scale)
        if self.spec.parallel_depth:
            yield "parallel_blocks", self._run_parallel

    def _run_scale(self, scale: int, x: Any) -> Any:
        """From the image or the scales so far to the scales with the next one."""
        scales, source = ([], x) if scale == 1 else (x, x[-1][1].permute(0, 3, 1, 2))
        cells = getattr(self, f"patch_embed{scale}")(source)
        token = getattr(self, f"cls_token{scale}").expand(cells.shape[0], -1, -1)
        return [*scales, getattr(self, f"serial_blocks{scale}")([token, cells])]

    def _run_parallel(self, x: Any) -> Any:
        cpes = [getattr(self, f"cpe{scale}") for scale in PARALLEL]
        return [x[0], *self.parallel_blocks(x[1:], cpes)]

    def finish(self, x: Any) -> Any:
        found = [getattr(self, f"norm{scale}")(to_tokens(x[scale - 1])) for scale in self.normed]
        return found if self.spec.parallel_depth else found[0]

    def classifier_input(self, x: Any) -> Tensor:
        if not isinstance(x, list):
            return self.global_pool(x)
        if not self.global_pool.pool_type:
            return x[-1]
        return self.aggregate(torch.stack([self.global_pool(tokens) for tokens in x], 1)).squeeze(1)

    # ------------------------------------------------------------ features

    def level_state(self, x: Any, level: int) -> Tensor:
        return x[level][1].flatten(1, 2)

    def level_norm(self, level: int) -> Callable[[Tensor], Tensor]:
        """The norm of a level's scale, where it has one."""
        return getattr(self, f"norm{level + 1}") if level + 1 in self.normed else same

    def level_size(self, size: Size, level: int) -> Size:
        stride = self.feature_info[level]["reduction"]
        return size[0] // stride, size[1] // stride


def unused_keys(keys: Collection[str], model: CoaT) -> set[str]:
    """The authors' files have norms, and weights of the scales' vectors, that their networks do not use."""
    known = model.state_dict().keys()
    return {key for key in keys if re.match(r"(norm[1-4]|aggregate)\.", key) and key not in known}


def repair_keys(state_dict: Mapping[str, Tensor], model: CoaT) -> dict[str, Tensor]:
    """Blocks of a scale share their convolutions: a file may hold such a tensor at one of its places alone."""
    places: dict[int, list[str]] = {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        places.setdefault(id(tensor), []).append(key)
    repaired = dict(state_dict)
    for keys in places.values():
        held = next((state_dict[key] for key in keys if key in state_dict), None)
        repaired |= {key: held for key in keys if held is not None and key not in state_dict}
    return repaired
