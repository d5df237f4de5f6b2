"""Hiera: a pyramid of plain transformer blocks, whose windows are the units that masked pretraining leaves out.

Ryali et al., Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles (arXiv:2306.00989); Bolya et al.,
Window Attention is Bugged (arXiv:2311.05613). The trunk carries tokens (N, units, cells, C): the cells of a mask unit
of 32 pixels in such an order that pooling takes the maximum of the four quarters.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.hiera import HieraSpec
from zoo.core.errors import UsageError
from zoo.models.base import ImageModel, Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import as_pair, check_image_size
from zoo.models.layers.pool import TokenPool
from zoo.models.layers.query_pooling import QueryPoolingBlock, init_query_pooling
from zoo.models.layers.tracing import leaf_function
from zoo.models.layers.transformer_block import BlockStyle

__getattr__ = family_attributes("hiera")

PATCH_STRIDE = 4
HALVINGS = 3
"""How often the map is pooled: a mask unit has 8 x 8 cells at first, one in the last stage."""
UNIT = 2**HALVINGS
WINDOWED_STAGES = 2
"""Stages that attend within mask units; the first block behind them still does."""


def to_units(x: Tensor) -> Tensor:
    """Map (N, H, W, C) -> (N, units, cells, C), the cells in the order of poolings."""
    halves = (-1,) + (2,) * HALVINGS
    x = x.unflatten(2, halves).unflatten(1, halves)  # units, then halves from the coarse to the fine: rows, columns
    pairs = [axis for fine in range(HALVINGS) for axis in (4 - fine, 8 - fine)]
    return x.permute(0, 1, 5, *pairs, 9).flatten(3, -2).flatten(1, 2)


@leaf_function
def stretched(positions: Tensor, size: Size) -> Tensor:
    """(1, C, H, W) in another height and width."""
    # torch antialiases no half precision on the CPU.
    precise = positions.float() if positions.dtype.itemsize < 4 else positions
    return F.interpolate(precise, size=size, mode="bicubic", antialias=True).to(positions.dtype)


@leaf_function
def to_map(x: Tensor, grid: Size) -> Tensor:
    """The inverse for units that lie in this (rows, columns), after any number of poolings: -> (N, C, H, W)."""
    pairs = (x.shape[2].bit_length() - 1) // 2
    x = x.reshape(-1, *grid, *(2,) * (2 * pairs), x.shape[3])
    rows, columns = ([axis + 2 * pair for pair in reversed(range(pairs))] for axis in (3, 4))
    x = x.permute(0, -1, 1, *rows, 2, *columns)
    return x.flatten(3 + pairs).flatten(2, 2 + pairs)


class HieraBlock(QueryPoolingBlock):
    """Tokens (N, units, cells, C), of which pooling leaves a quarter.

    Args:
        windowed: attend within each unit, not to all tokens.
        use_expand_proj: the shortcut widens by a layer, not by maximum and average side by side.
        style, in_channels, options: as of every such block.
    """

    def __init__(
        self, style: BlockStyle, in_channels: int, *, windowed: bool, use_expand_proj: bool, **options: Any
    ) -> None:
        super().__init__(style, in_channels, **options)
        self.windowed, self.use_expand_proj = windowed, use_expand_proj
        if not use_expand_proj:
            self.proj = nn.Identity()

    def attend(self, x: Tensor, *_: Tensor | None) -> Tensor:
        units = x.shape[1]
        x = x.flatten(0, 1) if self.windowed else x.flatten(1, 2)
        groups = 1 if self.windowed else units

        def pool(queries: Tensor) -> Tensor:
            return self.pool(queries.unflatten(1, (groups, -1))).flatten(1, 2)

        x = self.attn(x, pool if self.pools else None)
        return x.unflatten(0, (-1, units)) if self.windowed else x.unflatten(1, (units, -1))

    def pool(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (4, -1)).amax(2)

    def shortcut(self, x: Tensor, normed: Tensor) -> Tensor:
        if self.use_expand_proj:
            return super().shortcut(x, normed)
        quarters = x.unflatten(2, (4, -1))
        return torch.cat([quarters.amax(2), quarters.mean(2)], -1)


class Hiera(ImageModel):
    """Patch embedding, position embeddings, blocks, pooling, norm `head.norm`, classifier `head.fc`.

    Args:
        spec: the variant, with the size of the images.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        global_pool: avg, max, avgmax, or '' with num_classes=0.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block.
    """

    def __init__(
        self,
        spec: HieraSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        height, width = self.img_size = as_pair(spec.img_size)
        pixels = UNIT * PATCH_STRIDE
        if height % pixels or width % pixels or not height or not width:
            raise UsageError(f"The sides of an image must be multiples of {pixels}, found {height} x {width}.")
        self.units = height // pixels, width // pixels
        channels = spec.embed_dim
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(in_chans, channels, 7, PATCH_STRIDE, 3)))
        cells = self.units[0] * UNIT, self.units[1] * UNIT
        if spec.abs_win_pos_embed:
            self.pos_embed = nn.Parameter(torch.empty(1, channels, *spec.global_pos_size))
            self.pos_embed_win = nn.Parameter(torch.empty(1, channels, UNIT, UNIT))
        else:
            self.pos_embed = nn.Parameter(torch.empty(1, cells[0] * cells[1], channels))
        self.cells = cells
        self._make_blocks(spec, drop_path_rate)
        self.head = nn.Sequential(OrderedDict(norm=token_norm_factory()(self.num_features)))
        self.make_head(global_pool)

    def _make_blocks(self, spec: HieraSpec, drop_path_rate: float) -> None:
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.stages)))
        self.blocks = nn.Sequential()
        self.feature_info = []
        in_channels = spec.embed_dim
        for stage, depth in enumerate(spec.stages):
            channels, heads = spec.embed_dim << stage, spec.num_heads << stage
            style = BlockStyle.of(spec, embed_dim=channels, num_heads=heads, norm=token_norm_factory())
            for position in range(depth):
                block = HieraBlock(
                    style,
                    in_channels,
                    pools=0 < stage <= HALVINGS and not position,
                    windowed=stage < WINDOWED_STAGES + (not position),
                    use_expand_proj=spec.use_expand_proj,
                    drop_path=next(rates),
                )
                self.blocks.append(block)
                in_channels = channels
            last = f"blocks.{len(self.blocks) - 1}"
            self.feature_info.append({"num_chs": channels, "reduction": PATCH_STRIDE << stage, "module": last})
        self.num_features = in_channels

    def make_pool(self, pool_type: str) -> TokenPool:
        return TokenPool(pool_type)

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.head.get_submodule("norm")(x)

    # ------------------------------------------------------------ forward

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "patch_embed", self._embed
        for index, block in enumerate(self.blocks):
            yield f"blocks.{index}", block

    def _embed(self, x: Tensor) -> Tensor:
        check_image_size(x, as_pair(self.spec.img_size))
        return to_units(self.patch_embed(x).permute(0, 2, 3, 1) + self._positions())

    def _positions(self) -> Tensor:
        """(1, H, W, C) for the cells of the image."""
        if not self.spec.abs_win_pos_embed:
            return self.pos_embed.unflatten(1, self.cells)
        return (stretched(self.pos_embed, self.cells) + self.pos_embed_win.tile(self.units)).permute(0, 2, 3, 1)

    def finish(self, x: Tensor) -> Tensor:
        """Tokens (N, units, C): a cell is a unit in the end."""
        return x.flatten(1, 2)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - there is one size
        return to_map(x, self.units)

    # ------------------------------------------------------------ initial values

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_query_pooling(name, module, classifier="head.fc", as_jax=self.spec.weight_init == "jax")

    def reset_parameters(self) -> None:
        for positions in self._parameters.values():
            assert positions is not None
            nn.init.trunc_normal_(positions, std=0.02)


AUTHORS_KEYS: KeyTable = {
    r"^head\.projection\.": "head.fc.",
    r"^(encoder_)?norm\.": "head.norm.",
    r"^pos_embed_abs$": "pos_embed",
}


def repair_keys(state_dict: Mapping[str, Tensor], model: Hiera) -> dict[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files."""
    return rename_keys(state_dict, AUTHORS_KEYS)
