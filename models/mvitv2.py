"""MViTv2: a pyramid of transformer blocks, in which convolutions pool queries, keys and values.

Li et al., MViTv2: Improved Multiscale Vision Transformers for Classification and Detection (arXiv:2112.01526); Fan et
al., Multiscale Vision Transformers (arXiv:2104.11227). The trunk carries tokens (N, L, C): those of the map, in the
order of rows, behind a class token where there is one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.mvitv2 import MultiScaleVitSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.attention import attend, check_heads, merge_heads, split_heads
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import as_pair, check_image_size
from zoo.models.layers.relative_position import AxisEmbeddings
from zoo.models.layers.tracing import leaf_function, listed, same
from zoo.models.token_model import TokenModel

__getattr__ = family_attributes("mvitv2")

PATCH_STRIDE = 4
KEY_STRIDE = 4
"""Of keys and values in the first stage; it halves in each further one."""
TOTAL_STRIDE = 32
layer_norm = token_norm_factory()


def reduced(size: Size, stride: int) -> Size:
    """The map that every `stride`-th row and column leave."""
    return -(-size[0] // stride), -(-size[1] // stride)


def on_map(x: Tensor, size: Size, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """Tokens (N, prefix + L, C), of which `pool` changes the map of this size (N, C, H, W); the prefix stays."""
    prefix = x.shape[1] - prod(size)
    cells = pool(x[:, prefix:].transpose(1, 2).unflatten(2, size)).flatten(2).transpose(1, 2)
    return after_prefix(cells, x, prefix)


@leaf_function
def after_prefix(cells: Tensor, x: Tensor, prefix: int) -> Tensor:
    """Tokens (N, L, C) behind the first ones of others, where there are any."""
    return torch.cat([x[:, :prefix], cells], 1) if prefix else cells


@leaf_function
def behind_prefix(bias: Tensor, prefix: int) -> Tensor:
    """(N, heads, L, L) with zeros for so many tokens before these."""
    return F.pad(bias, (prefix, 0, prefix, 0)) if prefix else bias


class PoolingAttention(AxisEmbeddings):
    """Tokens (N, L, `in_channels`) -> (N, queries, `channels`): `proj(attention + queries)`.

    Queries, keys and values are pooled by convolutions that the heads share.

    Args:
        in_channels, channels: of input and output.
        num_heads: how many heads share the channels.
        size: (height, width) of the map; tokens before it are not pooled.
        stride: of the queries.
        key_stride: of keys and values.
    """

    def __init__(
        self, in_channels: int, channels: int, num_heads: int, size: Size, stride: int, key_stride: int
    ) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads, self.size = num_heads, size
        self.query_size, self.key_size = reduced(size, stride), reduced(size, key_stride)
        head_dim = channels // num_heads
        self.qkv = nn.Linear(in_channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        for part, step in (("q", stride), ("k", key_stride), ("v", key_stride)):
            pool = nn.Conv2d(head_dim, head_dim, 3, step, 1, groups=head_dim, bias=False)
            self.add_module(f"pool_{part}", pool)
            self.add_module(f"norm_{part}", layer_norm(head_dim))
        longest = max(self.query_size[0], self.key_size[0]), max(self.query_size[1], self.key_size[1])
        self.make_axes(longest, head_dim)

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.rel_pos_h, std=0.02)
        nn.init.trunc_normal_(self.rel_pos_w, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = map(self._pooled, "qkv", listed(self.qkv(x).chunk(3, 2), 3))
        prefix = x.shape[1] - prod(self.size)
        bias = self.position_bias(q[:, :, prefix:], self.query_size, self.key_size)
        return self.proj(attend(q, k, v, behind_prefix(bias, prefix)) + merge_heads(q))

    def _pooled(self, part: str, x: Tensor) -> Tensor:
        """(N, L, C) -> (N, heads, tokens, D)"""
        x = split_heads(x, self.num_heads).flatten(0, 1)
        x = on_map(x, self.size, self.get_submodule(f"pool_{part}"))
        return self.get_submodule(f"norm_{part}")(x).unflatten(0, (-1, self.num_heads))


class MultiScaleBlock(nn.Module):
    """Pooling attention and a perceptron, each on the normed tokens and with a shortcut; either may widen them.

    Args:
        attn: the attention.
        channels: of input, attention and output.
        mlp_ratio: hidden channels of the perceptron by those of the attention.
        drop_path: rate of stochastic depth.
    """

    def __init__(
        self, attn: PoolingAttention, channels: tuple[int, int, int], mlp_ratio: float, drop_path: float
    ) -> None:
        super().__init__()
        in_channels, attn_channels, out_channels = channels
        self.norm1 = layer_norm(in_channels)
        if attn_channels != in_channels:
            self.shortcut_proj_attn = nn.Linear(in_channels, attn_channels)
        self.attn = attn
        self.drop_path1 = make_drop_path(drop_path)
        self.norm2 = layer_norm(attn_channels)
        if out_channels != attn_channels:
            self.shortcut_proj_mlp = nn.Linear(attn_channels, out_channels)
        self.mlp = Mlp(attn_channels, int(attn_channels * mlp_ratio), out_channels)
        self.drop_path2 = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = self._pool(self.shortcut_proj_attn(normed) if "shortcut_proj_attn" in self._modules else x)
        x = x + self.drop_path1(self.attn(normed))
        normed = self.norm2(x)
        x = self.shortcut_proj_mlp(normed) if "shortcut_proj_mlp" in self._modules else x
        return x + self.drop_path2(self.mlp(normed))

    def _pool(self, x: Tensor) -> Tensor:
        """The shortcut for pooled queries: the maximum around each cell that is left."""
        size = self.attn.size
        if self.attn.query_size == size:
            return x
        return on_map(x, size, partial(F.max_pool2d, kernel_size=3, stride=2, padding=1))


class MultiScaleVit(TokenModel):
    """Patch embedding, stages, norm, pooling, classifier `head.fc`.

    Args:
        spec: the variant, with the size of the images.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        global_pool: token, avg, max, avgmax, or '' with num_classes=0; by default token where there is a class token.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block.
    """

    no_decay = (*TokenModel.no_decay, r"rel_pos_[hw]")

    default_out_indices = None

    def __init__(
        self,
        spec: MultiScaleVitSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str | None = None,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        height, width = self.img_size = as_pair(spec.img_size)
        if height % TOTAL_STRIDE or width % TOTAL_STRIDE or not height or not width:
            raise UsageError(f"The sides of an image must be multiples of {TOTAL_STRIDE}, found {height} x {width}.")
        self.num_prefix_tokens = int(spec.use_cls_token)
        self.cls_token = nn.Parameter(torch.empty(1, 1, spec.embed_dim)) if spec.use_cls_token else None
        embedding = nn.Conv2d(in_chans, spec.embed_dim, 7, PATCH_STRIDE, 3)
        self.patch_embed = nn.Sequential(OrderedDict(proj=embedding))
        self._make_stages(spec, reduced((height, width), PATCH_STRIDE), drop_path_rate)
        self.norm = layer_norm(self.num_features)
        default_pool = "token" if spec.use_cls_token else "avg"
        self.make_head(default_pool if global_pool is None else global_pool)

    def _make_stages(self, spec: MultiScaleVitSpec, size: Size, drop_path_rate: float) -> None:
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.depths)))
        widths = [spec.embed_dim << stage for stage in range(len(spec.depths))]
        in_channels = spec.embed_dim
        self.stages = nn.Sequential()
        self.map_sizes: list[Size] = []
        self.feature_info = []
        for stage, depth in enumerate(spec.depths):
            blocks = nn.Sequential()
            for position in range(depth):
                widens = position == depth - 1 and not spec.expand_attn
                channels = widths[stage], widths[min(stage + widens, len(widths) - 1)]
                stride = 2 if stage and not position else 1
                heads, key_stride = spec.num_heads << stage, max(KEY_STRIDE >> stage, 1)
                attn = PoolingAttention(in_channels, channels[0], heads, size, stride, key_stride)
                blocks.append(MultiScaleBlock(attn, (in_channels, *channels), spec.mlp_ratio, next(rates)))
                in_channels, size = channels[1], attn.query_size
            self.stages.append(nn.Sequential(OrderedDict(blocks=blocks)))
            self.map_sizes.append(size)
            level = {"num_chs": in_channels, "reduction": PATCH_STRIDE << stage, "module": f"stages.{stage}"}
            level |= {"name": f"block.{stage}"}
            self.feature_info.append(level)
        self.num_features = in_channels

    def reset_parameters(self) -> None:
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)

    # ------------------------------------------------------------ forward

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "patch_embed", self._embed
        for index, stage in enumerate(self.stages):
            yield f"stages.{index}", stage

    def _embed(self, x: Tensor) -> Tensor:
        check_image_size(x, as_pair(self.spec.img_size))
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        return x if self.cls_token is None else torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def level_norm(self, level: int) -> Callable[[Tensor], Tensor]:
        """The norm is of the last stage's width."""
        return super().level_norm(level) if level == len(self.feature_info) - 1 else same

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - there is one size
        return x[:, self.num_prefix_tokens :].transpose(1, 2).unflatten(2, self.map_sizes[level]).contiguous()


def repair_keys(state_dict: Mapping[str, Tensor], model: MultiScaleVit) -> Mapping[str, Tensor]:
    """The names of the authors' files, which count the blocks through."""
    if "blocks.0.norm1.weight" not in state_dict:
        return state_dict
    places = [f"stages.{stage}.blocks.{i}." for stage, depth in enumerate(model.spec.depths) for i in range(depth)]
    kind = "attn" if model.spec.expand_attn else "mlp"
    table: KeyTable = {
        r"^blocks\.(\d+)\.": lambda found: places[int(found[1])],
        r"^(stages\.\d+\.blocks\.\d+\.)proj\.": rf"\1shortcut_proj_{kind}.",
        r"^head\.projection\.": "head.fc.",
    }
    return rename_keys(state_dict, table)
