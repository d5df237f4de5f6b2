"""CSATv2 of MLPA Lab: convolutions with a gate over the map, then attention, on the frequencies of an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.csatv2 import CsatV2Spec
from zoo.models.conv_net import ConvNet
from zoo.models.csatv2_stem import PATCH, FrequencyStem
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys, reshape_to_fit
from zoo.models.layers.attention import Attention
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.grn import GlobalResponseNorm
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.init import TRUNCATED_NORMAL
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.norm import LayerNorm2d
from zoo.models.layers.position_conv import PositionConv
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock

__getattr__ = family_attributes("csatv2")

GRID = 7
"""Side of the map that gates are computed on."""
NUM_HEADS, HEAD_DIM = 8, 32


class OneChannelBlock(nn.Module):
    """A transformer block on maps (N, H, W, 1), as it was published.

    A norm of one channel gives its bias, whatever it reads. Queries meet the keys of the other images of a batch; as
    the tokens of all images are alike, attention finds the values that it started from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = PositionConv(1, channels_last=True)
        self.norm1 = nn.LayerNorm(1)
        self.qkv = nn.Linear(1, 3, bias=False)
        self.norm2 = nn.LayerNorm(1)
        self.mlp = Mlp(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.qkv(self.pos_embed(self.norm1(x)))[..., 2:]
        return x + self.mlp(self.norm2(x))


class SpatialGate(nn.Module):
    """Map (N, C, H, W) -> (N, 1, H, W): a factor for each cell, from the mean and the maximum of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)
        self.attn = OneChannelBlock()

    def forward(self, x: Tensor) -> Tensor:
        found = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        found = self.conv(F.adaptive_avg_pool2d(found, GRID)).permute(0, 2, 3, 1)
        found = self.attn(found).permute(0, 3, 1, 2)
        return F.interpolate(found, size=x.shape[2:], mode="bilinear", align_corners=True)


class GatedConvBlock(nn.Module):
    """The block of ConvNeXt V2 (arXiv:2301.00808) with a gate at the end of its branch."""

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        hidden = 4 * channels
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.grn = GlobalResponseNorm(hidden)
        self.pwconv2 = nn.Linear(hidden, channels)
        self.drop_path = make_drop_path(drop_path)
        self.attn = SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        mixed = self.pwconv2(self.grn(self.act(self.pwconv1(mixed)))).permute(0, 3, 1, 2)
        return x + self.drop_path(mixed * self.attn(mixed))


class FixedWidthAttention(Attention):
    """Attention whose heads have 32 channels, however many the tokens have."""

    def __init__(self, channels: int, num_heads: int, **options: Any) -> None:
        width = num_heads * HEAD_DIM
        super().__init__(width, num_heads, **options)
        self.qkv = nn.Linear(channels, 3 * width, bias=False)
        self.proj = nn.Linear(width, channels)


class PositionedBlock(TransformerBlock):
    """Attention with positions that a convolution tells apart, and a perceptron: (N, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        style = BlockStyle(embed_dim=channels, num_heads=NUM_HEADS, norm=nn.LayerNorm)
        super().__init__(style, attn=FixedWidthAttention)
        self.pos_embed = PositionConv(channels, channels_last=True)

    def forward(self, x: Tensor, *_: Tensor | None) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def attend(self, x: Tensor, *_: Tensor | None) -> Tensor:
        found: Tensor = self.attn(self.pos_embed(x).flatten(1, 2))
        return found.unflatten(1, x.shape[1:3])


class CSATv2(ConvNet):
    """Stem `stem_dct` on the frequencies of an image, four stages, pooling, norm, classifier `head.fc`.

    Whatever `in_chans` says, the stem reads three colours.
    """

    spec: CsatV2Spec
    initial_values = TRUNCATED_NORMAL
    default_out_indices = (1, 2, 3, 4)
    trunk = ("stem_dct", "stages.*")

    def build(self, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        self.stem_dct = FrequencyStem(spec.dims[0])
        self.add_level(spec.dims[0], PATCH, "stem_dct")
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.depths) - sum(spec.transformer_depths)))
        self.stages = nn.Sequential()
        width = spec.dims[0]
        for index, (channels, depth, attending) in enumerate(
            zip(spec.dims, spec.depths, spec.transformer_depths, strict=True)
        ):
            stage: list[nn.Module] = [nn.Conv2d(width, channels, 2, 2)] if index else []
            stage += [GatedConvBlock(channels, next(rates)) for _ in range(depth - attending)]
            stage += [PositionedBlock(channels) for _ in range(attending)]
            if index < len(spec.dims) - 1:
                stage.append(LayerNorm2d(channels))
            self.stages.append(nn.Sequential(*stage))
            self.add_level(channels, PATCH << index, f"stages.{index}")
            width = channels
        self.num_features = width
        self.head = NormMlpHead(width, LayerNorm2d)

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.head(x, is_map=not self.pools)

    def classifier_width(self, pooled: int) -> int:
        return self.head.width(pooled)


AUTHORS_KEYS: KeyTable = {
    r"^dct\.": "stem_dct.",
    r"\.(Y|Cb|Cr)_Conv\.": lambda colour: f".conv_{colour[1].lower()}.",
    r"\.grn\.gamma$": ".grn.weight",
    r"\.grn\.beta$": ".grn.bias",
    r"\.ff\.net\.0\.": ".mlp.fc1.",
    r"\.ff\.net\.3\.": ".mlp.fc2.",
    r"\.ff_norm\.": ".norm2.",
    r"\.attn_norm\.": ".norm1.",
    r"\.attention\.attention\.(attn\.)?": ".attn.attn.",
    r"\.attention\.": ".attn.",
    r"\.to_qkv\.": ".qkv.",
    r"\.to_out\.0\.": ".proj.",
    r"(?<!\.attn)\.attn\.pos_embed\.": ".pos_embed.",
    r"^head\.": "head.fc.",
    r"^norm\.": "head.norm.",
}


def repair_keys(state_dict: Mapping[str, Tensor], model: CSATv2) -> dict[str, Tensor]:
    """The names of the authors' files, where a stage ends with the downsampling to the next."""
    if "stages.0.0.grn.weight" in state_dict:
        return dict(state_dict)

    def place(found: re.Match[str]) -> str:
        stage, position = int(found[1]) - 1, int(found[2])
        if position > model.spec.depths[stage]:  # behind the blocks and a norm
            return f"stages.{stage + 1}.0."
        return f"stages.{stage}.{position + (stage > 0)}."

    renamed = rename_keys(state_dict, {r"^stages(\d)\.(\d+)\.": place, **AUTHORS_KEYS})
    return reshape_to_fit(renamed, model.state_dict())
