"""The image encoder of Qwen3-VL, Qwen3.5 and Qwen3.8: learned and rotary positions, images of any size.

Qwen3-VL (arXiv:2511.21631); Qwen-Drive (arXiv:2609.00111).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.qwen3_vit import Qwen3VitSpec
from zoo.core.errors import UsageError
from zoo.models.encoder_model import Encoded, EncoderModel, fit_inside, keys_outside
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.attention import Attention
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import PatchEmbed
from zoo.models.layers.rotary_position import AxialRotary
from zoo.models.layers.tracing import leaf_function
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock

__all__ = ["Qwen3Vit", "repair_keys", "unused_keys"]
__getattr__ = family_attributes("qwen3_vit")


class PatchMerger(nn.Module):
    """A map (N, C, rows, columns) -> (N, L, out): norm, squares of patches put together, two layers.

    Without `out_features` the second layer is left out.
    """

    def __init__(self, channels: int, side: int, out_features: int) -> None:
        super().__init__()
        self.side, width = side, channels * side**2
        self.norm = token_norm_factory()(channels)
        self.fc1 = nn.Linear(width, width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(width, out_features) if out_features else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        side = self.side
        if x.shape[2] % side or x.shape[3] % side:
            raise UsageError(f"The projector reads {side} x {side} patches, found {x.shape[2]} x {x.shape[3]}.")
        x = self.norm(x.permute(0, 2, 3, 1)).unflatten(2, (-1, side)).unflatten(1, (-1, side))
        return self.fc2(self.act(self.fc1(x.transpose(2, 3).flatten(3).flatten(1, 2))))


class Qwen3Vit(EncoderModel):
    """The encoder inside a classifier or by itself. By itself it ends with the tokens of the language model."""

    spec: Qwen3VitSpec

    def make_encoder(self, trunk: Any, rates: list[float], **dropout: float) -> None:
        spec = self.spec
        options: dict[str, Any] = {"layout": "NHWC", "any_size": True}
        trunk.patch_embed = PatchEmbed(spec.img_size, spec.patch_size, self.in_chans, spec.embed_dim, **options)
        trunk.pos_embed = nn.Parameter(torch.empty(1, spec.pos_embed_grid_size**2, spec.embed_dim))
        head_dim = spec.embed_dim // spec.num_heads
        trunk.rope = AxialRotary(head_dim, temperature=spec.rope_temperature, rotate_half=True)
        style = BlockStyle.of(spec, norm=token_norm_factory(), **dropout)
        attention = partial(Attention, rotate_half=True)
        trunk.blocks = nn.Sequential(*(TransformerBlock(style, rate, attn=attention) for rate in rates))
        if spec.has_projector:
            trunk.merger = PatchMerger(spec.embed_dim, spec.merge_size, spec.out_features)

    def projected_width(self) -> int:
        return self.spec.embed_dim * (self.spec.merge_size**2 if self.spec.has_projector else 1)

    def embed(self, x: Tensor) -> Encoded:
        x = self.trunk.patch_embed(x)
        grid = (x.shape[1], x.shape[2])
        tokens = (x + self.positions(grid, x.dtype)).flatten(1, 2)
        return Encoded(tokens, self.trunk.rope(grid, tokens), grid)

    def positions(self, grid: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """(1, rows, columns, C): the learned grid stretched so that corners stay corners."""
        side = self.spec.pos_embed_grid_size
        return stretched(self.trunk.pos_embed.unflatten(1, (side, side)), grid).to(dtype)

    def project(self, x: Tensor) -> Tensor:
        found: Tensor = self.trunk.merger(x)
        return found

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.trunk.pos_embed, std=0.02)


@leaf_function
def stretched(learned: Tensor, grid: tuple[int, int]) -> Tensor:
    """(1, H, W, C) -> (1, rows, columns, C), at least in float32 where the grid is another."""
    if grid == learned.shape[1:3]:
        return learned
    precise = torch.promote_types(learned.dtype, torch.float32)
    learned = learned.permute(0, 3, 1, 2).to(precise)
    return F.interpolate(learned, size=grid, mode="bilinear", align_corners=True).permute(0, 2, 3, 1)


# Qwen's own files hold the encoder beside the language model.
QWEN_TOWERS = ("vlm.model.visual.", "model.visual.", "visual.")
QWEN_KEYS: KeyTable = {
    r"^((vlm\.)?model\.)?visual\.": "",
    r"^pos_embed\.weight$": "pos_embed",
    r"\.linear_fc([12])\.": r".fc\1.",
}


def unused_keys(keys: Collection[str], model: Qwen3Vit) -> set[str]:
    """The language model's keys, what it reads from inner blocks, rotary positions; an unwanted projector."""
    left = r"rotary_pos_emb|deepstack_merger_list" + ("" if model.spec.has_projector else r"|(^|\.)merger\.")
    if model.spec.has_projector and not model.spec.out_features:
        left += r"|(^|\.)merger\.(linear_)?fc2\."
    return keys_outside(keys, model, QWEN_TOWERS, left)


def repair_keys(state_dict: Mapping[str, Tensor], model: Qwen3Vit) -> dict[str, Tensor]:
    """Rename the encoder of Qwen's files, whose patches are of two frames of a film: an image stands for both."""
    tensors = rename_keys(state_dict, QWEN_KEYS)
    kernel, positions = tensors.get("patch_embed.proj.weight"), tensors.get("pos_embed")
    if kernel is not None and kernel.ndim == 5:
        tensors["patch_embed.proj.weight"] = kernel.double().sum(2).float()
    if positions is not None and positions.ndim == 2:
        tensors["pos_embed"] = positions.unsqueeze(0)
    return fit_inside(tensors, model)
