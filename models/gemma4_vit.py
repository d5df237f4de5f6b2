"""The image encoder of Gemma 4: rotary positions of both axes, clamped linear layers, four norms to a block.

Gemma 4 (arXiv:2607.02770). The input is images, or patches of several images side by side; pixels lie between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.gemma4_vit import Gemma4VitSpec
from zoo.core.errors import UsageError
from zoo.models.encoder_model import Encoded, EncoderModel, fit_inside, keys_outside
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.activation import make_activation
from zoo.models.layers.attention import attend, rotate, split_heads
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.rotary_position import AxialRotary, grid_cells, rotary_table
from zoo.models.layers.tracing import leaf_function, leaf_procedure
from zoo.models.patch_model import PatchBatch, PatchModel, image_patches

__all__ = ["Gemma4Vit", "repair_keys", "unused_keys"]
__getattr__ = family_attributes("gemma4_vit")


class ClampedLinear(nn.Module):
    """A linear layer without bias; `clamped`, its input and output keep within bounds that come with the weights."""

    input_min: Tensor
    input_max: Tensor
    output_min: Tensor
    output_max: Tensor

    def __init__(self, in_features: int, out_features: int, clamped: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=False)
        self.clamped = clamped
        if clamped:
            for side in ("input", "output"):
                self.register_buffer(f"{side}_min", torch.empty(()))
                self.register_buffer(f"{side}_max", torch.empty(()))

    def reset_parameters(self) -> None:
        """At first the bounds hold nothing back."""
        for name, bound in self._buffers.items():
            if bound is not None:
                limits = torch.finfo(bound.dtype)
                bound.fill_(limits.min if name.endswith("min") else limits.max)

    def forward(self, x: Tensor) -> Tensor:
        if not self.clamped:
            return self.linear(x)
        return self.linear(x.clamp(self.input_min, self.input_max)).clamp(self.output_min, self.output_max)


class GemmaAttention(nn.Module):
    """Attention whose queries, keys and values have norms, so that its scores are not scaled.

    Half of the channels of a head turn with the column of a patch and half with the row.
    """

    def __init__(self, spec: Gemma4VitSpec, attn_drop: float, proj_drop: float) -> None:
        super().__init__()
        self.num_heads, self.attn_drop_rate = spec.num_heads, attn_drop
        channels, clamped = spec.embed_dim, spec.use_clipped_linears
        self.q_proj, self.k_proj = (
            ClampedLinear(channels, channels, clamped),
            ClampedLinear(channels, channels, clamped),
        )
        self.v_proj, self.o_proj = (
            ClampedLinear(channels, channels, clamped),
            ClampedLinear(channels, channels, clamped),
        )
        norm: Any = token_norm_factory("rmsnorm")
        head_dim = spec.embed_dim // spec.num_heads
        self.q_norm, self.k_norm = norm(head_dim), norm(head_dim)
        self.v_norm = norm(head_dim, elementwise_affine=False)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor, mask: Tensor | None, table: Tensor) -> Tensor:
        """Tokens (N, L, C) -> the same; `mask` is False where there is no patch, `table` as `table_of` makes it."""
        q = self._turned(self.q_norm(split_heads(self.q_proj(x), self.num_heads)), table)
        k = self._turned(self.k_norm(split_heads(self.k_proj(x), self.num_heads)), table)
        v = self.v_norm(split_heads(self.v_proj(x), self.num_heads))
        x = attend(q, k, v, mask, self.attn_drop_rate if self.training else 0.0, scale=1.0)
        return self.proj_drop(self.o_proj(x))

    def _turned(self, x: Tensor, table: Tensor) -> Tensor:
        return rotate(x.unflatten(-1, (2, -1)), table, half=True).flatten(-2)


class GemmaMlp(nn.Module):
    """`down_proj(gelu(gate_proj(x)) * up_proj(x))` (arXiv:2002.05202)."""

    def __init__(self, channels: int, hidden: int, clamped: bool) -> None:
        super().__init__()
        self.gate_proj = ClampedLinear(channels, hidden, clamped)
        self.up_proj = ClampedLinear(channels, hidden, clamped)
        self.down_proj = ClampedLinear(hidden, channels, clamped)
        self.act = make_activation("gelu_tanh")

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act(self.gate_proj(x)) * self.up_proj(x))


class GemmaBlock(nn.Module):
    """`x + norm2(attn(norm1(x)))`, then `x + norm4(mlp(norm3(x)))`; drop path on each branch."""

    def __init__(self, spec: Gemma4VitSpec, drop_path: float, **dropout: float) -> None:
        super().__init__()
        norm = token_norm_factory("rmsnorm")
        self.norm1, self.norm2 = norm(spec.embed_dim), norm(spec.embed_dim)
        self.norm3, self.norm4 = norm(spec.embed_dim), norm(spec.embed_dim)
        self.attn = GemmaAttention(spec, **dropout)
        self.mlp = GemmaMlp(spec.embed_dim, spec.intermediate_size, spec.use_clipped_linears)
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor, mask: Tensor | None, table: Tensor) -> Tensor:
        x = x + self.drop_path(self.norm2(self.attn(self.norm1(x), mask, table)))
        return x + self.drop_path(self.norm4(self.mlp(self.norm3(x))))


class GemmaPatchEmbed(nn.Module):
    """Patches (N, L, P * P * C), colour last -> tokens: a linear layer, and what is learned for column and row."""

    def __init__(self, spec: Gemma4VitSpec, in_chans: int) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.input_proj = nn.Linear(in_chans * spec.patch_size**2, spec.embed_dim, bias=False)
        self.position_embedding_table = nn.Parameter(torch.empty(2, spec.position_embedding_size, spec.embed_dim))

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.position_embedding_table, std=0.02)

    def forward(self, patches: Tensor, coordinates: Tensor, valid: Tensor | None = None) -> Tensor:
        """As the class says; `coordinates` (..., L, 2) are row and column, `valid` (N, L) says where a patch is."""
        x = patches.unflatten(2, (-1, self.in_chans)).transpose(2, 3).flatten(2)
        row, column = coordinates.clamp(min=0).unbind(-1)
        positions = self.position_embedding_table[0][column] + self.position_embedding_table[1][row]
        return self.input_proj(2 * (x - 0.5)) + (positions if valid is None else positions * valid.unsqueeze(2))


@leaf_function
def cells_of(grid: tuple[int, int], like: Tensor) -> Tensor:
    """Row and column of each cell (rows * columns, 2), where this tensor is."""
    rows, columns = (torch.arange(side, device=like.device) for side in grid)
    return grid_cells(rows, columns)


@leaf_function
def table_of(rotary: AxialRotary, coordinates: Tensor) -> Tensor:
    """(L, 2) or (N, L, 2) -> (2, L, 2, D / 2) or (2, N, 1, L, 2, D / 2): of the columns, then of the rows."""
    angles = rotary.turned(coordinates.flip(-1).float(), torch.float32)
    table = rotary_table(angles.unflatten(-1, (2, -1)), half=True)
    return table if coordinates.ndim == 2 else table.unsqueeze(2)


@leaf_procedure
def check_squares(side: int, tokens: Tensor, grid: tuple[int, int]) -> None:
    """Raises UsageError for tokens (N, L, C) that do not fill squares of patches, all or those of a grid."""
    if tokens.shape[1] % side**2 or any(extent % side for extent in grid):
        raise UsageError(f"The projector reads squares of {side} x {side} patches, which these do not fill.")


@leaf_function
def one_hot(numbers: Tensor, count: int) -> Tensor:
    """(...) -> (..., count): 1 at each number, 0 elsewhere; also for a number beyond the count."""
    return (numbers.unsqueeze(-1) == torch.arange(count, device=numbers.device)).float()


class Gemma4Vit(EncoderModel, PatchModel):
    """The encoder inside a classifier or by itself. By itself it ends with the tokens of the language model."""

    pool_norm = "rmsnorm"
    spec: Gemma4VitSpec

    def make_encoder(self, trunk: Any, rates: list[float], **dropout: float) -> None:
        spec, self.patch_size = self.spec, self.spec.patch_size
        trunk.patch_embed = GemmaPatchEmbed(spec, self.in_chans)
        trunk.rotary_emb = AxialRotary(spec.embed_dim // spec.num_heads, temperature=100.0)
        trunk.blocks = nn.Sequential(*(GemmaBlock(spec, rate, **dropout) for rate in rates))
        if spec.standardize:
            trunk.register_buffer("std_bias", torch.empty(spec.embed_dim))
            trunk.register_buffer("std_scale", torch.empty(spec.embed_dim))

    def feature_size(self, height: int, width: int) -> tuple[int, int]:
        return PatchModel.feature_size(self, height, width)

    def level_name(self, path: str) -> str:
        return path.removeprefix(self.inside)

    def embed(self, x: Any) -> Encoded:
        if isinstance(x, PatchBatch):
            patches, coordinates, valid = x
            grid = (0, 0)
        else:
            patches, valid = image_patches(x, self.patch_size), None
            grid = self.feature_size(x.shape[2], x.shape[3])
            coordinates = cells_of(grid, x)
        tokens = self.trunk.patch_embed(patches, coordinates, valid)
        return Encoded(tokens, table_of(self.trunk.rotary_emb, coordinates), grid, coordinates, valid)

    def finish(self, x: Any) -> Any:
        if self.inside and self.spec.has_projector:
            return self.soft_tokens(x)
        return x.tokens if x.valid is None else {"patches": x.tokens, "patch_valid": x.valid}

    def soft_tokens(self, x: Encoded) -> Tensor:
        """The averages (N, L / k^2, C) of squares of k x k patches, in float32, times the root of the channels."""
        side, (tokens, coordinates, valid) = self.spec.pooling_kernel_size, (x.tokens, x.coordinates, x.valid)
        assert coordinates is not None
        check_squares(side, tokens, x.grid)
        places = coordinates.clamp(min=0)
        across = (places[..., 1].amax(-1, keepdim=True) + 1) // side
        cell = places[..., 1] // side + across * (places[..., 0] // side)
        weights = one_hot(cell, tokens.shape[1] // side**2)
        if valid is not None:
            tokens = tokens * valid.unsqueeze(2)
        pooled = ((weights / side**2).mT @ tokens.float()).to(tokens.dtype) * tokens.shape[2] ** 0.5
        if self.spec.standardize:
            pooled = (pooled - self.trunk.std_bias) * self.trunk.std_scale
        return pooled

    def forward(self, x: Any) -> Any:
        """Images, or a batch of patches, -> logits, or the tokens of the language model."""
        if self.inside or not self.spec.has_projector or self._last_step:
            return super().forward(x)
        carried: Any = PatchBatch.of(x) if isinstance(x, Mapping) else x
        for _, step in self.steps():
            carried = self._run(step, carried)
        return self.soft_tokens(carried)

    def classifier_input(self, x: Any) -> Any:
        if not isinstance(x, Mapping):
            return super().classifier_input(x)
        return self.before_classifier(self.pool_valid(x["patches"], x["patch_valid"]))

    def project(self, x: Tensor) -> Tensor:  # noqa: ARG002
        raise UsageError("The tokens of the language model need the places of the patches.", hint="Call the model.")

    def reset_parameters(self) -> None:
        if self.spec.standardize:
            nn.init.zeros_(self.trunk.std_bias)
            nn.init.ones_(self.trunk.std_scale)


# Gemma's own files hold the encoder beside the language model.
GEMMA_TOWERS = ("model.vision_tower.", "model.vision_model.", "vision_model.", "vision_tower.")
GEMMA_KEYS: KeyTable = {
    r"^(model\.)?vision_(tower|model)\.": "",
    r"^patch_embedder\.": "patch_embed.",
    r"^encoder\.layers\.": "blocks.",
    r"\.input_layernorm\.": ".norm1.",
    r"\.post_attention_layernorm\.": ".norm2.",
    r"\.pre_feedforward_layernorm\.": ".norm3.",
    r"\.post_feedforward_layernorm\.": ".norm4.",
    r"\.self_attn\.": ".attn.",
}


def unused_keys(keys: Collection[str], model: Gemma4Vit) -> set[str]:
    """The language model's keys, and rotary positions."""
    return keys_outside(keys, model, GEMMA_TOWERS, r"rotary_emb")


def repair_keys(state_dict: Mapping[str, Tensor], model: Gemma4Vit) -> dict[str, Tensor]:
    """Rename the encoder of Gemma's files; put an encoder into a classifier, or take it out."""
    return fit_inside(rename_keys(state_dict, GEMMA_KEYS), model)
