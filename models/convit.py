"""ConViT: d'Ascoli et al., Improving Vision Transformers with Soft Convolutional Inductive Biases (arXiv:2103.10697).

Heads of the first blocks choose by a gate between what the tokens say and where they lie; they start as convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isqrt, prod
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.convit import ConVitSpec
from zoo.models.base import Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import check_heads, merge_heads, split_heads
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import PatchEmbed
from zoo.models.layers.tracing import listed
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock
from zoo.models.token_model import TokenModel

__getattr__ = family_attributes("convit")


def offsets(grid: Size) -> Tensor:
    """From each patch to each: (patches, patches, 3), columns, rows and the square of the distance."""
    # Constants: on the CPU also where the model is on meta.
    rows, columns = torch.meshgrid(*(torch.arange(side, device="cpu") for side in grid), indexing="ij")
    places = torch.stack([columns, rows], -1).flatten(0, 1).float()
    steps = places - places[:, None]
    return torch.cat([steps, steps.square().sum(2, keepdim=True)], 2)


class GatedPositionalAttention(nn.Module):
    """Patches (N, L, C) -> (N, L, C): weights by content and weights by offset, mixed by a gate for each head.

    Section 3 of the paper.

    Args:
        channels: of the patches.
        num_heads: how many heads share them.
        grid: rows and columns of the patches.
        locality_strength: how much a head attends to its offset at first.
        qkv_bias: whether the layers for queries, keys and values have one.
        attn_drop, proj_drop: dropout rates of the attention weights and of the result.
    """

    rel_indices: Tensor

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        grid: Size,
        locality_strength: float,
        qkv_bias: bool,
        attn_drop: float,
        proj_drop: float,
        **_: Any,
    ) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads, self.locality_strength = num_heads, locality_strength
        self.qk = nn.Linear(channels, 2 * channels, bias=qkv_bias)
        self.v = nn.Linear(channels, channels, bias=qkv_bias)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(channels, channels)
        self.pos_proj = nn.Linear(3, num_heads)
        self.proj_drop = nn.Dropout(proj_drop)
        self.gating_param = nn.Parameter(torch.empty(num_heads))
        self.register_buffer("rel_indices", offsets(grid), persistent=False)

    def start_as_convolution(self) -> None:
        """Each head attends to one offset of a square kernel, and values are what they are of (section 3)."""
        nn.init.ones_(self.gating_param)
        nn.init.eye_(self.v.weight)
        side = isqrt(self.num_heads)
        for head in range(side * side):
            row, column = (2 * place - (side - 1) for place in divmod(head, side))
            start = torch.tensor([row, column, -1.0]) * self.locality_strength
            self.pos_proj.weight[head] = start

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.num_heads) for part in (*listed(self.qk(x).chunk(2, 2), 2), self.v(x)))
        by_content = ((q * q.shape[3] ** -0.5) @ k.transpose(2, 3)).softmax(3)
        by_offset = self.pos_proj(self.rel_indices).permute(2, 0, 1).softmax(2)
        weights = by_content.lerp(by_offset, self.gating_param.sigmoid().view(-1, 1, 1))
        return self.proj_drop(self.proj(merge_heads(self.attn_drop(weights) @ v)))


class ConVit(TokenModel):
    """Patches, position embedding, blocks, of which the last take in a class token, norm, pooling, classifier `head`.

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

    @property
    def embed_dim(self) -> int:
        return self.num_features

    def __init__(
        self,
        spec: ConVitSpec,
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
        channels = self.num_features = spec.embed_dim * spec.num_heads
        norm = token_norm_factory()
        self.patch_embed = PatchEmbed(spec.img_size, spec.patch_size, in_chans, channels)
        self.img_size, grid = self.patch_embed.img_size, self.patch_embed.grid_size
        self.cls_token = nn.Parameter(torch.empty(1, 1, channels))
        self.pos_embed = nn.Parameter(torch.empty(1, prod(grid), channels))
        self.pos_drop = nn.Dropout(pos_drop_rate)
        style = BlockStyle.of(spec, embed_dim=channels, norm=norm, attn_drop=attn_drop_rate, proj_drop=proj_drop_rate)
        local = partial(GatedPositionalAttention, grid=grid, locality_strength=spec.locality_strength)
        self.blocks = nn.Sequential()
        for depth, rate in enumerate(drop_path_schedule(drop_path_rate, spec.depth)):
            attn = local if depth < spec.local_up_to_layer else None
            self.blocks.append(TransformerBlock(style, rate, attn=attn))
        reduction = max(self.patch_embed.patch_size)
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": f"blocks.{depth}"} for depth in range(spec.depth)
        ]
        self.norm = norm(channels)
        self.make_head(global_pool)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "pos_drop", lambda x: self.pos_drop(self.patch_embed(x) + self.pos_embed)
        for depth, block in enumerate(self.blocks):
            joins = depth == self.spec.local_up_to_layer
            yield f"blocks.{depth}", partial(self._join, block) if joins else block

    def _join(self, block: nn.Module, x: Tensor) -> Tensor:
        """The first block with the class token."""
        return block(self._with_class_token(x))

    def _with_class_token(self, x: Tensor) -> Tensor:
        return torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)

    def level_state(self, x: Tensor, level: int) -> Tensor:
        """Every level has a class token, that of the first blocks has seen nothing yet."""
        return x if level >= self.spec.local_up_to_layer else self._with_class_token(x)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - hooks read no class token
        rows, columns = self.feature_size(*size)
        return x[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns)).contiguous()

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, GatedPositionalAttention):
            module.start_as_convolution()

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
