"""Vision transformers for images of any size and proportions, as whole images or as patches side by side.

Dehghani et al., NaViT (arXiv:2307.06304); Beyer et al., FlexiViT (arXiv:2212.08013); Tschannen et al., SigLIP 2
(arXiv:2502.14786), whose NaFlex variant this is; Ranzinger et al., C-RADIO (arXiv:2412.07679).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from math import sqrt
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.naflexvit import NaFlexVitSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention_pool import LatentAttentionPool
from zoo.models.layers.drop import PatchDrop, drop_path_schedule, take_tokens
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.pool import TokenPool
from zoo.models.layers.tracing import leaf_function
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock
from zoo.models.patch_model import PatchBatch, PatchModel, image_patches

__all__ = ["NaFlexVit", "repair_keys"]
__getattr__ = family_attributes("naflexvit")

BRANCH_ENDS = re.compile(r"blocks\.(\d+)\.(attn\.proj|mlp\.fc2)")


class NaFlexEmbeds(nn.Module):
    """Patches -> tokens: a linear layer, learned positions that are fitted to the grid, prefix tokens."""

    def __init__(self, spec: NaFlexVitSpec, in_chans: int, drop: float) -> None:
        super().__init__()
        self.spec = spec
        channels, (rows, columns) = spec.embed_dim, spec.pos_grid

        def parameter(*shape: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(1, *shape, channels)) if all(shape) else None

        self.cls_token = parameter(int(spec.class_token))
        self.reg_token = parameter(spec.reg_tokens)
        if spec.pos_factorized:
            self.pos_embed_y, self.pos_embed_x = parameter(rows), parameter(columns)
        else:
            self.pos_embed = parameter(rows, columns)
        self.proj = nn.Linear(in_chans * spec.patch_size**2, channels)
        self.pos_drop = nn.Dropout(drop)

    def reset_parameters(self) -> None:
        for name, parameter in self._parameters.items():
            if parameter is not None:
                nn.init.normal_(parameter, std=0.02 if name.startswith("pos_embed") else 1e-6)

    def forward(self, patches: Tensor, grid: Size, coordinates: Tensor | None = None) -> Tensor:
        """(N, L, P * P * C) -> (N, prefix + L, D).

        Args:
            patches: of an image, in the order of rows, colour last.
            grid: rows and columns of the images, where all have the same.
            coordinates: (N, L, 2), row and column of each patch, where every image has a grid of its own.
        """
        x = self.proj(patches)
        if coordinates is None:
            x = x + self.positions(grid, x.dtype).flatten(1, 2)
        else:
            x = x + self._positions_at(coordinates, x.dtype)
        prefix = [token.expand(x.shape[0], -1, -1) for token in (self.cls_token, self.reg_token) if token is not None]
        return self.pos_drop(torch.cat([*prefix, x], 1) if prefix else x)

    def positions(self, grid: Size, dtype: torch.dtype) -> Tensor:
        """(1, rows, columns, D)."""
        spec = self.spec
        if spec.pos_factorized:
            assert self.pos_embed_y is not None
            assert self.pos_embed_x is not None
            y, x = (
                axis_positions(learned, grid, axis, spec.pos_keep_proportions).to(dtype)
                for axis, learned in enumerate((self.pos_embed_y, self.pos_embed_x))
            )
            return y[:, : grid[0], None] + x[:, None, : grid[1]]
        assert self.pos_embed is not None
        options = spec.pos_keep_proportions, spec.pos_filter, spec.pos_align_corners, spec.pos_antialias
        return grid_positions(self.pos_embed, grid, *options).to(dtype)

    def _positions_at(self, coordinates: Tensor, dtype: torch.dtype) -> Tensor:
        """(N, L, D); each grid is as large as the coordinates in it."""
        sizes = [(int(rows), int(columns)) for rows, columns in (coordinates.amax(1) + 1).tolist()]
        fitted = {size: self.positions(size, dtype)[0] for size in set(sizes)}
        return torch.stack(
            [fitted[size][row, column] for size, (row, column) in zip(sizes, coordinates.mT, strict=True)]
        )


@leaf_function
def grid_positions(
    learned: Tensor, grid: Size, keep_proportions: bool, mode: str, align_corners: bool, antialias: bool
) -> Tensor:
    """(1, H, W, D) -> (1, rows, columns, D): what is fitted to the grid, or to a square that it is part of."""
    if grid == learned.shape[1:3]:
        return learned
    found = F.interpolate(
        learned.permute(0, 3, 1, 2).float(),
        size=(max(grid), max(grid)) if keep_proportions else grid,
        mode=mode,
        align_corners=align_corners,
        antialias=antialias,
    )
    return found[:, :, : grid[0], : grid[1]].permute(0, 2, 3, 1)


@leaf_function
def axis_positions(embeddings: Tensor, grid: Size, axis: int, keep_proportions: bool) -> Tensor:
    """(1, L, D) -> (1, length, D) for the rows (0) or columns (1) of the grid, or of a square that it is part of."""
    length = max(grid) if keep_proportions else grid[axis]
    if embeddings.shape[1] == length:
        return embeddings
    return F.interpolate(embeddings.mT.float(), size=length, mode="linear", align_corners=False).mT


class NaFlexVit(PatchModel):
    """Embedded patches, blocks, norm, pooling, classifier `head`; the input is images or a batch of patches.

    Args:
        spec: the variant.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        drop_rate: dropout before the classifier.
        pos_drop_rate, patch_drop_rate: dropout of the embedded tokens, part of the patches left out in training.
        proj_drop_rate, attn_drop_rate: dropout behind the layers of a block, of its attention weights.
        drop_path_rate: the rate that stochastic depth grows towards.
        use_key_only_attn_mask: changes nothing: masks are always of the keys alone, (N, 1, 1, L).
    """

    head_parts = ("attn_pool", "fc_norm", "global_pool")

    def __init__(
        self,
        spec: NaFlexVitSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        patch_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        use_key_only_attn_mask: bool = True,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.use_key_only_attn_mask = use_key_only_attn_mask
        self.spec, self.patch_size, self.num_features = spec, spec.patch_size, spec.embed_dim
        self.num_prefix_tokens = int(spec.class_token) + spec.reg_tokens
        norm = token_norm_factory()
        self.embeds = NaFlexEmbeds(spec, in_chans, pos_drop_rate)
        self.patch_drop = PatchDrop(patch_drop_rate, self.num_prefix_tokens)
        style = BlockStyle.of(spec, norm=norm, attn_drop=attn_drop_rate, proj_drop=proj_drop_rate)
        rates = drop_path_schedule(drop_path_rate, spec.depth)
        self.blocks = nn.Sequential(*(TransformerBlock(style, rate) for rate in rates))
        self.feature_info = [
            {"num_chs": spec.embed_dim, "reduction": spec.patch_size, "module": f"blocks.{depth}"}
            for depth in range(spec.depth)
        ]
        self.norm = norm(spec.embed_dim) if spec.final_norm and not spec.norm_after_pool else nn.Identity()
        self.attn_pool: nn.Module = nn.Identity()
        if spec.global_pool == "map":
            self.attn_pool = LatentAttentionPool(
                spec.embed_dim, spec.num_heads, mlp_ratio=spec.mlp_ratio, norm=norm, act=spec.act_layer
            )
        self.fc_norm = norm(spec.embed_dim) if spec.final_norm and spec.norm_after_pool else nn.Identity()
        self.make_head(spec.global_pool)

    # ------------------------------------------------------------ forward

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "embeds", self._embed
        for depth, block in enumerate(self.blocks):
            yield f"blocks.{depth}", partial(self.run_block, block)

    def _embed(self, x: Any) -> Any:
        if isinstance(x, PatchBatch):
            tokens, valid = self.embeds(x.patches, (0, 0), x.coordinates), self.with_prefix(x.valid)
        else:
            tokens = self.embeds(image_patches(x, self.patch_size), self.feature_size(x.shape[2], x.shape[3]))
            valid = None
        rows = self.patch_drop.rows(tokens)
        if rows is not None:
            tokens = take_tokens(tokens, rows)
            valid = None if valid is None else valid.gather(1, rows)
        return tokens if valid is None else (tokens, valid)

    def intermediates_input(self, x: Any, output_fmt: str, output_dict: bool) -> Any:
        if isinstance(x, Mapping) and self.training and self.patch_drop.rate and not output_dict:
            raise UsageError("In training patch dropout leaves out patches: output_dict=True says which are left.")
        return super().intermediates_input(x, output_fmt, output_dict)

    def finish_tokens(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.fc_norm(self.attn_pool(x))

    def pool_valid(self, tokens: Tensor, valid: Tensor) -> Tensor:
        if self.global_pool.pool_type != "map":
            return self.fc_norm(super().pool_valid(tokens, valid))
        start = self.num_prefix_tokens
        return self.fc_norm(self.attn_pool(tokens[:, start:], valid[:, None, None, start:]))

    # ------------------------------------------------------------ head

    def make_pool(self, pool_type: str) -> TokenPool:
        if pool_type == "token" and not self.spec.class_token:
            raise UsageError("global_pool='token' needs a class token, which this model has not.")
        if pool_type == "map" and isinstance(self.attn_pool, nn.Identity):
            raise UsageError("The pooling 'map' is chosen when the model is built: create_model(global_pool='map').")
        if pool_type != "map":
            self.attn_pool = nn.Identity()
        return TokenPool(pool_type, self.num_prefix_tokens, attention_follows=pool_type == "map")

    def init_module(self, name: str, module: nn.Module) -> None:
        """As a vision transformer, but branches end the smaller the deeper they are."""
        super().init_module(name, module)
        end = BRANCH_ENDS.fullmatch(name)
        if end and isinstance(module, nn.Linear):
            module.weight.div_(sqrt(2 * (int(end[1]) + 1)))


def repair_keys(state_dict: Mapping[str, Tensor], model: NaFlexVit) -> dict[str, Tensor]:  # noqa: ARG001
    """Tensors of a vision transformer of square images: its convolution of patches becomes a linear layer."""
    repaired = dict(state_dict)
    for name in ("cls_token", "reg_token"):
        if name in repaired:
            repaired[f"embeds.{name}"] = repaired.pop(name)
    for kind in ("weight", "bias"):
        value = repaired.pop(f"patch_embed.proj.{kind}", None)
        if value is not None:
            repaired[f"embeds.proj.{kind}"] = value.permute(0, 2, 3, 1).flatten(1) if kind == "weight" else value
    if "pos_embed" in repaired:
        _take_positions(repaired, repaired.pop("pos_embed"))
    return repaired


def _take_positions(tensors: dict[str, Tensor], positions: Tensor) -> None:
    """(1, L, D) of a square grid, perhaps behind those of prefix tokens, which take in their own."""
    prefix = [name for name in ("embeds.cls_token", "embeds.reg_token") if name in tensors]
    counts = [tensors[name].shape[1] for name in prefix]
    length = positions.shape[1]
    if round(sqrt(length)) ** 2 != length:
        *own, positions = positions.split([*counts, length - sum(counts)], 1)
        for name, part in zip(prefix, own, strict=True):
            tensors[name] = tensors[name] + part
    side = round(sqrt(positions.shape[1]))
    tensors["embeds.pos_embed"] = positions.unflatten(1, (side, -1))
