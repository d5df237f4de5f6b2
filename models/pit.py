"""PiT: Heo et al., Rethinking Spatial Dimensions of Vision Transformers (arXiv:2103.16302).

A vision transformer in three stages, between which a depthwise convolution halves the map of patches and doubles the
channels. The trunk carries tokens (N, class token + patches, C).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.pit import PitSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.conv_net import ConvNet
from zoo.models.distilled import DistilledTokens
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import as_pair, check_image_size
from zoo.models.layers.pool import TokenPool
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock

__getattr__ = family_attributes("pit")


class Pooling(nn.Module):
    """Tokens of a map of `size` -> of half of it: patches by a depthwise convolution, others by a linear layer."""

    def __init__(self, in_channels: int, channels: int, size: Size, num_tokens: int) -> None:
        super().__init__()
        self.size, self.num_tokens = size, num_tokens
        self.conv = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, groups=in_channels)
        self.fc = nn.Linear(in_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        patches = x[:, self.num_tokens :].transpose(1, 2).unflatten(2, self.size)
        return torch.cat([self.fc(x[:, : self.num_tokens]), self.conv(patches).flatten(2).transpose(1, 2)], 1)


class PoolingVisionTransformer(ConvNet):
    """Overlapping patches, position embeddings, stages `transformers`, norm of the class token, classifier `head`.

    `forward_features` gives the class token alone: (N, 1, C).

    Args of `build`: dropout of the embedded patches, within the blocks and of the attention weights; stochastic depth
    of the last block.
    """

    spec: PitSpec
    default_pool = "token"
    num_tokens = 1
    """Tokens that come before the patches."""

    @property
    def embed_dim(self) -> int:
        return self.num_features

    def build(
        self,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        spec = self.spec
        self.img_size = as_pair(spec.img_size)
        height, width = ((side - spec.patch_size) // spec.stride + 1 for side in self.img_size)
        if min(height, width) < 1:
            raise UsageError(f"Images of {spec.img_size} hold no patch of {spec.patch_size}.")
        widths = [base * heads for base, heads in zip(spec.base_dims, spec.heads, strict=True)]
        self.patch_embed = PatchEmbedding(self.in_chans, widths[0], spec.patch_size, spec.stride, (height, width))
        self.pos_embed = nn.Parameter(torch.empty(1, widths[0], height, width))
        self.cls_token = nn.Parameter(torch.empty(1, self.num_tokens, widths[0]))
        self.pos_drop = nn.Dropout(pos_drop_rate)
        norm = token_norm_factory("layernorm", eps=1e-6)
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.depth)))
        self.transformers = nn.Sequential()
        self.map_sizes: list[Size] = []
        for index, (channels, depth) in enumerate(zip(widths, spec.depth, strict=True)):
            parts = OrderedDict[str, nn.Module]()
            if index:
                parts["pool"] = Pooling(widths[index - 1], channels, (height, width), self.num_tokens)
                height, width = (height + 1) // 2, (width + 1) // 2
            style = BlockStyle.of(
                spec,
                embed_dim=channels,
                num_heads=spec.heads[index],
                norm=norm,
                attn_drop=attn_drop_rate,
                proj_drop=proj_drop_rate,
            )
            parts["blocks"] = nn.Sequential(*(TransformerBlock(style, next(rates)) for _ in range(depth)))
            self.transformers.append(nn.Sequential(parts))
            self.map_sizes.append((height, width))
            self.add_level(channels, spec.stride * 2**index, f"transformers.{index}")
        self.num_features = widths[-1]
        self.norm = norm(self.num_features)

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def make_pool(self, pool_type: str) -> TokenPool:
        if pool_type not in ("", "token"):
            raise UsageError(f"This model pools its class token: global_pool='token', found {pool_type!r}.")
        return TokenPool(pool_type, self.num_tokens)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "pos_drop", self._embed
        for index, stage in enumerate(self.transformers):
            yield f"transformers.{index}", stage

    def _embed(self, x: Tensor) -> Tensor:
        check_image_size(x, as_pair(self.spec.img_size))
        patches = self.pos_drop(self.patch_embed(x) + self.pos_embed).flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token.expand(x.shape[0], -1, -1), patches], 1)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x[:, : self.num_tokens])

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - there is one size
        return x[:, self.num_tokens :].transpose(1, 2).unflatten(2, self.map_sizes[level]).contiguous()


class PatchEmbedding(nn.Sequential):
    """Image (N, C, H, W) -> map (N, D, rows, columns): a convolution over patches that may overlap.

    `grid_size` is the number of patches (down, across) of an image of the model's size.
    """

    def __init__(self, in_chans: int, channels: int, patch_size: int, stride: int, grid_size: Size) -> None:
        super().__init__(OrderedDict(conv=nn.Conv2d(in_chans, channels, patch_size, stride)))
        self.patch_size, self.grid_size = (patch_size, patch_size), grid_size


class PoolingVisionTransformerDistilled(DistilledTokens, PoolingVisionTransformer):
    """With a distillation token beside the class token and a classifier for each: `head` and `head_dist`."""

    num_tokens = 2


AUTHORS_KEYS: KeyTable = {r"^pools\.(\d)\.": lambda pool: f"transformers.{int(pool[1]) + 1}.pool."}


def repair_keys(state_dict: Mapping[str, Tensor], model: PoolingVisionTransformer) -> dict[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files, which keep the poolings apart from the stages."""
    return rename_keys(state_dict, AUTHORS_KEYS)
