"""The image encoder of Segment Anything: a vision transformer whose blocks attend within windows, a few to all cells.

Kirillov et al., Segment Anything (arXiv:2304.02643); Li et al., Exploring Plain Vision Transformer Backbones for Object
Detection (arXiv:2203.16527). Maps are (N, H, W, C) inside the blocks and (N, C, H, W) behind them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.vision_transformer_sam import VisionTransformerSAMSpec
from zoo.models.base import ImageModel, Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.attention import Attention, attend
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.norm import LayerNorm2d
from zoo.models.layers.patch_embed import PatchEmbed
from zoo.models.layers.position_embedding import resample_positions
from zoo.models.layers.relative_position import AxisEmbeddings
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock
from zoo.models.layers.window import attend_in_windows

__getattr__ = family_attributes("vision_transformer_sam")


class RelativeAttention(AxisEmbeddings, Attention):
    """Self-attention of the cells of a map, with embeddings for their offsets; they are made for maps of `size`."""

    def __init__(self, channels: int, num_heads: int, *, size: Size, **options: Any) -> None:
        Attention.__init__(self, channels, num_heads, **options)
        self.make_axes(size, self.head_dim)

    def reset_parameters(self) -> None:
        Attention.reset_parameters(self)
        nn.init.zeros_(self.rel_pos_h)
        nn.init.zeros_(self.rel_pos_w)

    def forward(self, x: Tensor, size: Size) -> Tensor:  # type: ignore[override]
        """Tokens (N, L, C) that are the cells of maps of this size -> the same."""
        q, k, v = self._project(x)
        bias = self.position_bias(q, size, size)
        return self.proj_drop(self.proj(attend(q, k, v, bias, self.attn_drop_rate if self.training else 0.0)))


class SAMBlock(TransformerBlock):
    """Maps (N, H, W, C); attention within windows of this side, 0 for the whole map, which then is of `size`."""

    def __init__(self, style: BlockStyle, drop_path: float, *, window: int, size: Size) -> None:
        size = (window, window) if window else size
        super().__init__(style, drop_path, attn=partial(RelativeAttention, size=size))
        self.window = window

    def attend(self, x: Tensor, *_: Tensor | None) -> Tensor:
        window = (self.window, self.window) if self.window else (x.shape[1], x.shape[2])
        return attend_in_windows(x, window, partial(self.attn, size=window))


class VisionTransformerSAM(ImageModel):
    """Patches, position embedding, blocks, `neck`, pooling, classifier `head.fc`.

    Images may have any size in whole patches; positions are resampled to it.

    Args:
        spec: the variant.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        global_pool: avg, max, avgmax, catavgmax, or '' with num_classes=0.
        drop_rate: dropout before the classifier.
        pos_drop_rate, proj_drop_rate, attn_drop_rate: dropout of the embeddings, behind the layers of a block, of its
            attention weights.
        drop_path_rate: stochastic depth of the last block.
    """

    default_out_indices = 3

    def __init__(
        self,
        spec: VisionTransformerSAMSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        channels, neck = spec.embed_dim, spec.neck_chans
        self.patch_embed = PatchEmbed(spec.img_size, spec.patch_size, in_chans, channels, layout="NHWC", any_size=True)
        self.img_size, size = self.patch_embed.img_size, self.patch_embed.grid_size
        self.pos_embed = nn.Parameter(torch.empty(1, *size, channels)) if spec.use_abs_pos else None
        self.pos_drop = nn.Dropout(pos_drop_rate)
        style = BlockStyle.of(spec, norm=nn.LayerNorm, attn_drop=attn_drop_rate, proj_drop=proj_drop_rate)
        self.blocks = nn.Sequential()
        for index, rate in enumerate(drop_path_schedule(drop_path_rate, spec.depth)):
            window = 0 if index in spec.global_attn_indexes else spec.window_size
            self.blocks.append(SAMBlock(style, rate, window=window, size=size))
        reduction = max(self.patch_embed.patch_size)
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": f"blocks.{index}"} for index in range(spec.depth)
        ]
        self.neck: nn.Module = LayerNorm2d(channels)
        if neck:
            narrow, mix = nn.Conv2d(channels, neck, 1, bias=False), nn.Conv2d(neck, neck, 3, padding=1, bias=False)
            self.neck = nn.Sequential(narrow, LayerNorm2d(neck), mix, LayerNorm2d(neck))
        self.num_features = neck or channels
        self.make_head(global_pool)

    def reset_parameters(self) -> None:
        if self.pos_embed is not None:
            nn.init.zeros_(self.pos_embed)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "pos_drop", self._embed
        for index, block in enumerate(self.blocks):
            yield f"blocks.{index}", block

    def _embed(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        if self.pos_embed is not None:
            grid = (x.shape[1], x.shape[2])
            positions = resample_positions(self.pos_embed.flatten(1, 2), self.patch_embed.grid_size, grid)
            x = x + positions.unflatten(1, grid)
        return self.pos_drop(x)

    def finish(self, x: Tensor) -> Tensor:
        return self.neck(x.permute(0, 3, 1, 2))

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - the map has its own
        return x.permute(0, 3, 1, 2).contiguous()


ENCODER = "image_encoder."
AUTHORS_KEYS: KeyTable = {r"^image_encoder\.": "", r"\.mlp\.lin([12])\.": r".mlp.fc\1."}


def unused_keys(keys: Collection[str], model: VisionTransformerSAM) -> set[str]:  # noqa: ARG001
    """The prompt encoder and the mask decoder, where the file holds the whole of Segment Anything."""
    whole = any(key.startswith(ENCODER) for key in keys)
    return {key for key in keys if whole and not key.startswith(ENCODER)}


def repair_keys(state_dict: Mapping[str, Tensor], model: VisionTransformerSAM) -> dict[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files."""
    return rename_keys(state_dict, AUTHORS_KEYS)
