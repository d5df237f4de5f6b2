"""The image encoder of DeepSeek-V4 and V4.1: rotary positions alone, RMS norms, gated perceptrons.

DeepSeek-V4.1-Flash (arXiv:2609.19969).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.deepseek_vit import DeepSeekVitSpec
from zoo.models.encoder_model import INSIDE, Encoded, EncoderModel, fit_inside, keys_outside
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.attention import Attention
from zoo.models.layers.mlp import GluMlp
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import PatchEmbed
from zoo.models.layers.rotary_position import AxialRotary
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock

__all__ = ["DeepSeekVit", "repair_keys", "unused_keys"]
__getattr__ = family_attributes("deepseek_vit")


class Aligner(nn.Module):
    """A map (N, C, rows, columns) -> (N, L, out): squares of patches put together, channels first, two layers.

    What a square lacks at the bottom and on the right is filled up with zeros.
    """

    def __init__(self, channels: int, side: int, out_features: int) -> None:
        super().__init__()
        self.side = side
        self.fc1 = nn.Linear(channels * side**2, out_features)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(out_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, -x.shape[3] % self.side, 0, -x.shape[2] % self.side))
        x = F.pixel_unshuffle(x, self.side).flatten(2).transpose(1, 2)
        return self.fc2(self.act(self.fc1(x)))


class DeepSeekBlock(TransformerBlock):
    """The block whose attention has biases and whose gated perceptron has none."""

    def __init__(self, style: BlockStyle, drop_path: float) -> None:
        super().__init__(style, drop_path, attn=partial(Attention, rotate_half=True))
        hidden = 2 * style.hidden_channels
        self.mlp = GluMlp(style.embed_dim, hidden, act="silu", bias=False, drop=style.proj_drop, gate_last=False)


class DeepSeekVit(EncoderModel):
    """The encoder inside a classifier or by itself. By itself it ends with the tokens of the language model."""

    pool_norm = "rmsnorm_float32"
    spec: DeepSeekVitSpec

    def make_encoder(self, trunk: Any, rates: list[float], **dropout: float) -> None:
        spec = self.spec
        norm = token_norm_factory("rmsnorm_float32")
        options: dict[str, Any] = {"layout": "NHWC", "any_size": True, "pad": spec.dynamic_img_pad}
        trunk.patch_embed = PatchEmbed(spec.img_size, spec.patch_size, self.in_chans, spec.embed_dim, **options)
        head_dim = spec.embed_dim // spec.num_heads
        trunk.rope = AxialRotary(head_dim, temperature=spec.rope_temperature, rotate_half=True)
        style = BlockStyle.of(spec, norm=norm, **dropout)
        trunk.blocks = nn.Sequential(*(DeepSeekBlock(style, rate) for rate in rates))
        trunk.norm = norm(spec.embed_dim)
        if spec.has_projector:
            trunk.aligner = Aligner(spec.embed_dim, spec.downsample_ratio, spec.out_features)

    def embed(self, x: Tensor) -> Encoded:
        x = self.trunk.patch_embed(x)
        grid = (x.shape[1], x.shape[2])
        tokens = x.flatten(1, 2)
        return Encoded(tokens, self.trunk.rope(grid, tokens), grid)

    def project(self, x: Tensor) -> Tensor:
        found: Tensor = self.trunk.aligner(x)
        return found


# DeepSeek's own files hold the encoder beside the language model, whose `norm` and `head` are at the top.
DEEPSEEK_TOWERS = ("vision.", "aligner.")
DEEPSEEK_KEYS: KeyTable = {
    r"^vision\.": "",
    r"(^|\.)aligner\.w([12])\.": r"\1aligner.fc\2.",
    r"\.attn\.wqkv\.": ".attn.qkv.",
    r"\.attn\.wo\.": ".attn.proj.",
    r"\.mlp\.w([12])\.": r".mlp.fc\1.",
}


def unused_keys(keys: Collection[str], model: DeepSeekVit) -> set[str]:
    """The language model's keys; an unwanted projector."""
    towers = DEEPSEEK_TOWERS if any(key.startswith("vision.") for key in keys) else ("vision.",)
    unwanted = r"^\b$" if model.spec.has_projector else rf"^({INSIDE})?aligner\."
    return keys_outside(keys, model, towers, unwanted)


def repair_keys(state_dict: Mapping[str, Tensor], model: DeepSeekVit) -> dict[str, Tensor]:
    """Rename the encoder of DeepSeek's files, whose patches go through a linear layer."""
    tensors = rename_keys(state_dict, DEEPSEEK_KEYS)
    kernel = tensors.get("patch_embed.proj.weight")
    if kernel is not None and kernel.ndim == 2:
        side = model.spec.patch_size
        tensors["patch_embed.proj.weight"] = kernel.unflatten(1, (-1, side, side))
    return fit_inside(tensors, model)
