"""TNT: Han et al., Transformer in Transformer (arXiv:2103.00112).

A transformer over patches, in each block of which another one works on the cells within every patch. The trunk carries
both: cells (N * patches, 16, c) and tokens of patches behind a class token (N, 1 + patches, C).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from math import isqrt
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.tnt import TNTSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.attention import attend, check_heads, split_heads
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.patch_embed import as_pair, check_image_size
from zoo.models.layers.tracing import listed
from zoo.models.token_model import TokenModel

__getattr__ = family_attributes("tnt")

PATCH, STRIDE = 16, 4
SIDE = PATCH // STRIDE
"""Rows and columns of the cells of a patch."""

Pair = tuple[Tensor, Tensor]


def cut(x: Tensor, side: int) -> Tensor:
    """(N, C, H, W) -> (N * pieces, C, side, side), the pieces in the order of rows."""
    x = x.unflatten(3, (-1, side)).unflatten(2, (-1, side))
    return x.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


class Attention(nn.Module):
    """Self-attention of tokens (N, L, C), queries and keys of one layer, values of another."""

    def __init__(self, channels: int, num_heads: int, qkv_bias: bool, attn_drop: float, proj_drop: float) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads, self.attn_drop_rate = num_heads, attn_drop
        self.qk = nn.Linear(channels, 2 * channels, bias=qkv_bias)
        self.v = nn.Linear(channels, channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.num_heads) for part in (*listed(self.qk(x).chunk(2, 2), 2), self.v(x)))
        return self.proj_drop(self.proj(attend(q, k, v, dropout=self.attn_drop_rate if self.training else 0.0)))


class TNTBlock(nn.Module):
    """The inner transformer block (`attend_within`) and the outer one, which adds the cells to their patches.

    Args:
        spec: the variant.
        attn_drop, proj_drop: dropout rates of the attention weights and behind the layers.
        drop_path: rate of stochastic depth.
    """

    def __init__(self, spec: TNTSpec, attn_drop: float, proj_drop: float, drop_path: float) -> None:
        super().__init__()
        inner, outer = spec.inner_dim, spec.embed_dim
        patch = SIDE * SIDE * inner
        self.legacy = spec.legacy
        self.norm_in = nn.LayerNorm(inner)
        self.attn_in = Attention(inner, spec.num_heads_inner, spec.qkv_bias, attn_drop, proj_drop)
        self.norm_mlp_in = nn.LayerNorm(inner)
        self.mlp_in = Mlp(inner, 4 * inner, drop=proj_drop)
        self.norm1_proj = nn.LayerNorm(inner if spec.legacy else patch)
        self.proj = nn.Linear(patch, outer, bias=spec.legacy)
        self.norm2_proj = nn.Identity() if spec.legacy else nn.LayerNorm(outer)
        self.norm_out = nn.LayerNorm(outer)
        self.attn_out = Attention(outer, spec.num_heads_outer, spec.qkv_bias, attn_drop, proj_drop)
        self.norm_mlp = nn.LayerNorm(outer)
        self.mlp = Mlp(outer, int(outer * spec.mlp_ratio), drop=proj_drop)
        self.drop_path = make_drop_path(drop_path)

    def attend_within(self, cells: Tensor) -> Tensor:
        """(N * patches, 16, c) -> the same."""
        cells = cells + self.drop_path(self.attn_in(self.norm_in(cells)))
        return cells + self.drop_path(self.mlp_in(self.norm_mlp_in(cells)))

    def forward(self, patches: Tensor, cells: Tensor) -> Tensor:
        """Tokens (N, 1 + patches, C) -> the same."""
        num_patches = patches.shape[1] - 1
        if self.legacy:
            cells = self.norm1_proj(cells)
        cells = cells.flatten(1).unflatten(0, (-1, num_patches))
        if not self.legacy:
            cells = self.norm1_proj(cells)
        patches = torch.cat([patches[:, :1], patches[:, 1:] + self.norm2_proj(self.proj(cells))], 1)
        patches = patches + self.drop_path(self.attn_out(self.norm_out(patches)))
        return patches + self.drop_path(self.mlp(self.norm_mlp(patches)))


class TNT(TokenModel):
    """Cells and patches with their positions, blocks, norm, pooling, classifier `head`.

    Args:
        spec: the variant, with the size of the images.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        global_pool: token, avg, max, avgmax, or '' with num_classes=0.
        drop_rate: dropout before the classifier.
        pos_drop_rate, proj_drop_rate, attn_drop_rate: dropout of the embeddings, within, of the attention weights.
        drop_path_rate: stochastic depth of the last block.
    """

    num_prefix_tokens = 1

    def __init__(
        self,
        spec: TNTSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "token",
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        height, width = self.img_size = as_pair(spec.img_size)
        if height % PATCH or width % PATCH or not height or not width:
            raise UsageError(f"The sides of an image must be multiples of {PATCH}, found {height} x {width}.")
        self.num_patches = height // PATCH * (width // PATCH)
        inner, channels = spec.inner_dim, spec.embed_dim
        self.pixel_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(in_chans, inner, 7, STRIDE, 3)))
        self.norm1_proj = nn.LayerNorm(SIDE * SIDE * inner)
        self.proj = nn.Linear(SIDE * SIDE * inner, channels)
        self.norm2_proj = nn.LayerNorm(channels)
        self.cls_token = nn.Parameter(torch.empty(1, 1, channels))
        self.patch_pos = nn.Parameter(torch.empty(1, 1 + self.num_patches, channels))
        self.pixel_pos = nn.Parameter(torch.empty(1, inner, SIDE, SIDE))
        self.pos_drop = nn.Dropout(pos_drop_rate)
        rates = drop_path_schedule(drop_path_rate, spec.depth)
        self.blocks = nn.ModuleList(TNTBlock(spec, attn_drop_rate, proj_drop_rate, rate) for rate in rates)
        self.feature_info = [
            {"num_chs": channels, "reduction": PATCH, "module": f"blocks.{depth}"} for depth in range(spec.depth)
        ]
        self.norm = nn.LayerNorm(channels)
        self.num_features = channels
        self.make_head(global_pool)

    def feature_size(self, height: int, width: int) -> Size:
        return height // PATCH, width // PATCH

    def reset_parameters(self) -> None:
        for parameter in self._parameters.values():
            assert parameter is not None
            nn.init.trunc_normal_(parameter, std=0.02)

    # ------------------------------------------------------------ forward

    def steps(self) -> Iterator[tuple[str, Any]]:
        yield "pos_drop", self._embed
        for depth, block in enumerate(self.blocks):
            yield f"blocks.{depth}", partial(self._run_block, block)

    def _embed(self, x: Tensor) -> Pair:
        check_image_size(x, as_pair(self.spec.img_size))
        cells = cut(self.pixel_embed(x), SIDE) if self.spec.legacy else self.pixel_embed(cut(x, PATCH))
        cells = (cells + self.pixel_pos).flatten(2).transpose(1, 2)
        patches = cells.flatten(1).unflatten(0, (-1, self.num_patches))
        patches = self.norm2_proj(self.proj(self.norm1_proj(patches)))
        patches = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), patches], 1)
        return cells, self.pos_drop(patches + self.patch_pos)

    def _run_block(self, block: Any, x: Pair) -> Pair:
        cells = block.attend_within(x[0])
        return cells, block(x[1], cells)

    def level_state(self, x: Any, level: int) -> Tensor:  # noqa: ARG002 - of one kind
        return x[1] if isinstance(x, tuple) else x

    def finish(self, x: Any) -> Tensor:
        return self.norm(x[1])


AUTHORS_KEYS: KeyTable = {
    r"outer_pos": "patch_pos",
    r"inner_pos": "pixel_pos",
    r"patch_embed": "pixel_embed",
    r"proj_norm([12])": r"norm\1_proj",
    r"inner_norm1": "norm_in",
    r"inner_norm2": "norm_mlp_in",
    r"outer_norm1": "norm_out",
    r"outer_norm2": "norm_mlp",
    r"(inner|outer)_attn": lambda found: f"attn_{'in' if found[1] == 'inner' else 'out'}",
    r"inner_mlp": "mlp_in",
    r"outer_mlp": "mlp",
}


def unused_keys(keys: Collection[str], model: TNT) -> set[str]:  # noqa: ARG001
    """A parameter that the authors' network does not read."""
    return {"outer_tokens"}.intersection(keys)


def repair_keys(state_dict: Mapping[str, Tensor], model: TNT) -> Mapping[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files, and the positions of cells as a map where they are tokens there."""
    if "patch_pos" in state_dict:
        return state_dict
    repaired = rename_keys(state_dict, AUTHORS_KEYS)
    positions = repaired.get("pixel_pos")
    if positions is not None and positions.ndim == 3:
        side = isqrt(positions.shape[1])
        repaired["pixel_pos"] = positions.transpose(1, 2).unflatten(2, (side, side)).contiguous()
    return repaired
