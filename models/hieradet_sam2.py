"""The image encoder of SAM 2: Hiera's blocks on a map that is cut into windows, some of them on all of it.

Ravi et al., SAM 2: Segment Anything in Images and Videos (arXiv:2408.00714); Ryali et al., Hiera (arXiv:2306.00989);
positions: Bolya et al., Window Attention is Bugged (arXiv:2311.05613). Maps are (N, H, W, C) inside the trunk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.hieradet_sam2 import HieraDetSpec
from zoo.core.errors import UsageError
from zoo.models.base import ImageModel, Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.norm import LayerNorm2d, token_norm_factory
from zoo.models.layers.query_pooling import QueryPoolingBlock, init_query_pooling
from zoo.models.layers.tracing import leaf_procedure
from zoo.models.layers.transformer_block import BlockStyle
from zoo.models.layers.window import attend_in_windows

__getattr__ = family_attributes("hieradet_sam2")

PATCH_STRIDE = 4


class HieraDetBlock(QueryPoolingBlock):
    """Maps (N, H, W, C); attention within windows of this side, 0 for the whole map. Pooling halves the map."""

    def __init__(self, style: BlockStyle, in_channels: int, *, window: int, **options: Any) -> None:
        super().__init__(style, in_channels, **options)
        self.window = window

    def attend(self, x: Tensor, *_: Tensor | None) -> Tensor:
        window = (self.window, self.window) if self.window else (x.shape[1], x.shape[2])

        def pool(queries: Tensor) -> Tensor:
            return self.pool(queries.unflatten(1, window)).flatten(1, 2)

        if not self.pools:
            return attend_in_windows(x, window, self.attn)
        return attend_in_windows(x, window, lambda windows: self.attn(windows, pool), shrink=2)

    def pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


class HieraDet(ImageModel):
    """Patch embedding, position embeddings, blocks, pooling, norm `head.norm`, classifier `head.fc`.

    Args:
        spec: the variant.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image, whose sides are whole windows of the first stage (32 pixels).
        global_pool: avg, max, avgmax, catavgmax, or '' with num_classes=0.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block.
    """

    def __init__(
        self,
        spec: HieraDetSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        channels, window = spec.embed_dim, spec.window_spec[0]
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(in_chans, channels, 7, PATCH_STRIDE, 3)))
        self.pos_embed = nn.Parameter(torch.empty(1, channels, *spec.global_pos_size))
        self.pos_embed_window = nn.Parameter(torch.empty(1, channels, window, window))
        rates = drop_path_schedule(drop_path_rate, sum(spec.stages))
        self.blocks = nn.Sequential()
        self.feature_info = []
        for stage, depth in enumerate(spec.stages):
            width, heads = channels << stage, spec.num_heads << stage
            style = BlockStyle.of(spec, embed_dim=width, num_heads=heads, norm=token_norm_factory())
            for position in range(depth):
                index = len(self.blocks)
                opens = bool(stage) and not position
                # The block that opens a stage still reads the map of the stage before.
                side = 0 if index in spec.global_att_blocks else spec.window_spec[stage - opens]
                in_channels = width // 2 if opens else width
                self.blocks.append(HieraDetBlock(style, in_channels, window=side, pools=opens, drop_path=rates[index]))
            last = f"blocks.{len(self.blocks) - 1}"
            self.feature_info.append({"num_chs": width, "reduction": PATCH_STRIDE << stage, "module": last})
        self.num_features = width
        self.head = NormMlpHead(width, LayerNorm2d)
        self.make_head(global_pool)

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.head(x, is_map=not self.pools)

    # ------------------------------------------------------------ forward

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "patch_embed", self._embed
        for index, block in enumerate(self.blocks):
            yield f"blocks.{index}", block

    def _embed(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        rows, columns = x.shape[2:]
        side = self.spec.window_spec[0]
        check_windows_divide(rows, columns, side)
        positions = F.interpolate(self.pos_embed, size=(rows, columns), mode="bicubic")
        positions = positions + self.pos_embed_window.tile(rows // side, columns // side)
        return (x + positions).permute(0, 2, 3, 1)

    def finish(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - the map has its own
        return x.permute(0, 3, 1, 2).contiguous()

    # ------------------------------------------------------------ initial values

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_query_pooling(name, module, classifier="head.fc")

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.pos_embed_window, std=0.02)


@leaf_procedure
def check_windows_divide(rows: int, columns: int, side: int) -> None:
    """Raises UsageError for a map of so many cells that windows of this side do not divide."""
    if rows % side or columns % side:
        raise UsageError(
            f"The sides of an image must be multiples of {side * PATCH_STRIDE}, "
            f"found {rows} x {columns} cells of {PATCH_STRIDE} pixels."
        )


TRUNK = "image_encoder.trunk."
AUTHORS_KEYS: KeyTable = {
    r"^image_encoder\.trunk\.": "",
    r"\.mlp\.layers\.0\.": ".mlp.fc1.",
    r"\.mlp\.layers\.1\.": ".mlp.fc2.",
}


def unused_keys(keys: Collection[str], model: HieraDet) -> set[str]:  # noqa: ARG001
    """The rest of SAM 2, where the file holds the whole of it."""
    whole = any(key.startswith(TRUNK) for key in keys)
    return {key for key in keys if whole and not key.startswith(TRUNK)}


def repair_keys(state_dict: Mapping[str, Tensor], model: HieraDet) -> dict[str, Tensor]:
    """The names of the authors' files, which have no norm before the classifier: it starts as the identity."""
    repaired = rename_keys(state_dict, AUTHORS_KEYS)
    if repaired.keys() != state_dict.keys():
        for end, value in (("weight", 1.0), ("bias", 0.0)):
            repaired.setdefault(f"head.norm.{end}", torch.full((model.num_features,), value))
    return repaired
