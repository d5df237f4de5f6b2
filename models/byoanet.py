"""Residual networks with attention in place of convolutions.

Srinivas et al., Bottleneck Transformers (arXiv:2101.11605); Vaswani et al., Scaling Local Self-Attention, which are
HaloNets (arXiv:2103.12731); Bello, LambdaNetworks (arXiv:2102.08602).
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.byoanet import AttentionBlocks, SizedByoaNetSpec
from zoo.core.architectures.configs.byobnet import Blocks
from zoo.core.errors import UsageError
from zoo.models.base import Size
from zoo.models.byobnet import ByobNet
from zoo.models.byobnet_blocks import BlockStyle, make_residual
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import attend, check_heads, split_heads
from zoo.models.layers.patch_embed import as_pair
from zoo.models.layers.stages import BlockPlace
from zoo.models.layers.tracing import leaf_procedure
from zoo.models.layers.window import merge_windows, partition_windows

__getattr__ = family_attributes("byoanet")


def init_inputs(*layers: nn.Conv2d) -> None:
    """Normal with the variance of one by the inputs, nothing beyond 2."""
    for layer in layers:
        nn.init.trunc_normal_(layer.weight, std=layer.in_channels**-0.5)


def heads_of_map(x: Tensor, num_heads: int) -> Tensor:
    """(N, heads * D, H, W) -> (N, heads, H * W, D)."""
    return x.unflatten(1, (num_heads, -1)).flatten(3).transpose(2, 3)


def check_map(x: Tensor, size: Size) -> None:
    """Raises UsageError for a map (N, C, H, W) of another size than positions are learned for."""
    if (x.shape[2], x.shape[3]) != size:
        raise UsageError(
            f"Positions are learned for maps of {size[0]} x {size[1]}, found {x.shape[2]} x {x.shape[3]}.",
            hint="Build the model with img_size.",
        )


class OffsetLogits(nn.Module):
    """What a query and the offset to a key add to their score: one vector for rows, one for columns (arXiv:1904.09925).

    Queries of `size` cells -> keys of `seen` cells: (..., queries, D) -> (..., queries, keys). Offsets are counted from
    corner to corner.
    """

    def __init__(self, size: Size, seen: Size, head_dim: int) -> None:
        super().__init__()
        self.size, self.seen = size, seen
        self.height_rel = nn.Parameter(torch.empty(2 * seen[0] - 1, head_dim))
        self.width_rel = nn.Parameter(torch.empty(2 * seen[1] - 1, head_dim))

    def reset_parameters(self) -> None:
        for vectors in (self.height_rel, self.width_rel):
            nn.init.trunc_normal_(vectors, std=vectors.shape[1] ** -0.5)

    @staticmethod
    def _by_pair(vectors: Tensor, size: int, seen: int) -> Tensor:
        """(offsets, D) -> (queries, D, keys): row `key - query + seen - 1` of the table for each pair of an axis."""
        return vectors.unfold(0, seen, 1)[seen - size :].flip(0)

    def forward(self, q: Tensor) -> Tensor:
        q = q.unflatten(-2, self.size)
        rows = q @ self._by_pair(self.height_rel, self.size[0], self.seen[0])
        columns = q.transpose(-2, -3) @ self._by_pair(self.width_rel, self.size[1], self.seen[1])
        return (rows.unsqueeze(-1) + columns.transpose(-2, -3).unsqueeze(-2)).flatten(-2).flatten(-3, -2)


class MapAttention(nn.Module):
    """What the layers share: channels of queries and values, each by heads, and a pooling that takes over a stride."""

    def __init__(self, channels: int, row: AttentionBlocks, stride: int) -> None:
        super().__init__()
        check_heads(channels, row.num_heads)
        self.num_heads = row.num_heads
        self.head_dim = row.head_dim or make_divisible(channels * row.qk_ratio) // row.num_heads
        self.value_dim = channels // row.num_heads
        self.query_channels = self.num_heads * self.head_dim
        self.pool = nn.AvgPool2d(2) if stride == 2 else nn.Identity()


class BottleneckAttention(MapAttention):
    """All cells attend to all (arXiv:2101.11605, figure 4): maps (N, C, H, W) of one size."""

    def __init__(self, channels: int, row: AttentionBlocks, stride: int, size: Size) -> None:
        super().__init__(channels, row, stride)
        self.size, self.widths = size, (self.query_channels, self.query_channels, channels)
        self.qkv = nn.Conv2d(channels, sum(self.widths), 1, bias=False)
        self.pos_embed = OffsetLogits(size, size, self.head_dim)

    def reset_parameters(self) -> None:
        init_inputs(self.qkv)

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.size)
        q, k, v = (heads_of_map(part, self.num_heads) for part in self.qkv(x).split(self.widths, 1))
        x = attend(q, k, v, self.pos_embed(q))
        return self.pool(x.transpose(1, 2).unflatten(2, self.size))


@leaf_procedure
def check_blocks_divide(height: int, width: int, side: int) -> None:
    """Raises UsageError for a map of this size that blocks of this side do not divide."""
    if height % side or width % side:
        raise UsageError(f"Blocks of {side} cells do not divide a map of {height} x {width}.")


class HaloAttention(MapAttention):
    """The cells of a block attend to those of the block and around it (arXiv:2103.12731, section 2.2).

    (N, C, H, W) -> (N, C, H, W), or half the size: a stride leaves out every second query where it divides the blocks.
    """

    def __init__(self, channels: int, row: AttentionBlocks, stride: int) -> None:
        query_stride = 1 if row.block_size % stride else stride
        super().__init__(channels, row, stride // query_stride)
        self.block_size, self.halo_size = row.block_size, row.halo_size
        self.window = row.block_size + 2 * row.halo_size
        self.query_stride, queries = query_stride, row.block_size // query_stride
        self.block = (queries, queries)
        self.q = nn.Conv2d(channels, self.query_channels, 1, stride=query_stride, bias=False)
        self.kv = nn.Conv2d(channels, self.query_channels + channels, 1, bias=False)
        self.pos_embed = OffsetLogits(self.block, (self.window, self.window), self.head_dim)

    def reset_parameters(self) -> None:
        init_inputs(self.q, self.kv)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        check_blocks_divide(height, width, self.block_size)
        q = split_heads(partition_windows(self.q(x).permute(0, 2, 3, 1), self.block), self.num_heads)
        k, v = split_heads(self._windows(self.kv(x)), self.num_heads).split((self.head_dim, self.value_dim), 3)
        found = attend(q, k, v, self.pos_embed(q))
        x = merge_windows(found, self.block, (height // self.query_stride, width // self.query_stride))
        return self.pool(x.permute(0, 3, 1, 2))

    def _windows(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N * windows, cells of a window, C): blocks with their halo, zeros behind the border."""
        x = F.pad(x, [self.halo_size] * 4)
        x = x.unfold(2, self.window, self.block_size).unfold(3, self.window, self.block_size)
        return x.permute(0, 2, 3, 4, 5, 1).flatten(3, 4).flatten(0, 2)


class LambdaLayer(MapAttention):
    """What surrounds a cell as a linear function of its query (arXiv:2102.08602, section 3).

    The content of the whole map is one function of (keys, values), what lies where is another for each cell. (N, C, H,
    W) -> (N, C, H, W), or half the size.
    """

    def __init__(self, channels: int, row: AttentionBlocks, stride: int) -> None:
        super().__init__(channels, row, stride)
        self.widths = (self.query_channels, self.head_dim, self.value_dim)
        self.qkv = nn.Conv2d(channels, sum(self.widths), 1, bias=False)
        self.norm_q = nn.BatchNorm2d(self.query_channels)
        self.norm_v = nn.BatchNorm2d(self.value_dim)

    def reset_parameters(self) -> None:
        init_inputs(self.qkv)

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        q, k, v = self.qkv(x).split(self.widths, 1)
        q, v = self.norm_q(q).unflatten(1, (self.num_heads, -1)).flatten(3), self.norm_v(v)
        found = self.apply_lambdas(q, k.flatten(2).softmax(2), v)
        return self.pool(found.flatten(1, 2).unflatten(2, size))

    def apply_lambdas(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries (N, heads, K, H * W), keys (N, K, H * W), values (N, V, H, W) -> (N, heads, V, H * W)."""
        raise NotImplementedError


class LocalLambda(LambdaLayer):
    """Positions of a neighbourhood, by a convolution of the values."""

    def __init__(self, channels: int, row: AttentionBlocks, stride: int) -> None:
        super().__init__(channels, row, stride)
        side = row.neighbours
        self.conv_lambda = nn.Conv3d(1, self.head_dim, (side, side, 1), padding=(side // 2, side // 2, 0))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.trunc_normal_(self.conv_lambda.weight, std=self.head_dim**-0.5)

    def apply_lambdas(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        content = v.flatten(2) @ k.transpose(1, 2)
        # The third axis of the kernel has one cell: a convolution of each value's map, which is faster in two.
        kernel, bias = self.conv_lambda.weight.squeeze(4), self.conv_lambda.bias
        around = F.conv2d(v.flatten(0, 1).unsqueeze(1), kernel, bias, padding=kernel.shape[2] // 2)
        lambdas = around.unflatten(0, (-1, self.value_dim)).flatten(3) + content.unsqueeze(3)
        return torch.einsum("nhkm,nvkm->nhvm", q, lambdas)


class MapLambda(LambdaLayer):
    """A position for each offset between two cells of a map of one size."""

    def __init__(self, channels: int, row: AttentionBlocks, stride: int, size: Size) -> None:
        super().__init__(channels, row, stride)
        self.size = size
        self.pos_emb = nn.Parameter(torch.empty(2 * size[0] - 1, 2 * size[1] - 1, self.head_dim))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.trunc_normal_(self.pos_emb, std=0.02)

    def apply_lambdas(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        check_map(v, self.size)
        # The functions are linear: what they give is a mean of the values with weights of their keys and offsets.
        by_pair = self.pos_emb.unfold(0, self.size[0], 1).unfold(1, self.size[1], 1).flip(0, 1)
        offsets = by_pair.flatten(0, 1).flatten(2)  # (queries, K, keys)
        weights = q.transpose(2, 3) @ k.unsqueeze(1) + torch.einsum("nhkm,mkj->nhmj", q, offsets)
        return v.flatten(2).unsqueeze(1) @ weights.transpose(2, 3)


class ByoaNet(ByobNet):
    """A byobnet whose rows may attend."""

    def make_block(self, style: BlockStyle, row: Blocks, place: BlockPlace) -> nn.Module:
        if not isinstance(row, AttentionBlocks):
            return super().make_block(style, row, place)
        width = make_divisible((place.in_channels if style.spec.bottle_in else place.channels) * row.ratio)
        branch = {
            "conv1_1x1": style.conv(place.in_channels, width),
            "self_attn": self._make_attention(width, row, place),
            "post_attn": style.norm_act(width),
            "conv3_1x1": style.conv(width, place.channels, act="identity"),
        }
        return make_residual(style, place, branch)

    def _make_attention(self, width: int, row: AttentionBlocks, place: BlockPlace) -> nn.Module:
        if row.kind == "halo":
            return HaloAttention(width, row, place.stride)
        if row.kind == "lambda" and row.neighbours:
            return LocalLambda(width, row, place.stride)
        assert isinstance(self.spec, SizedByoaNetSpec)
        height, columns = self.img_size = as_pair(self.spec.img_size)
        pixels = place.reduction // place.stride
        layer = BottleneckAttention if row.kind == "bottleneck" else MapLambda
        return layer(width, row, place.stride, (height // pixels, columns // pixels))
