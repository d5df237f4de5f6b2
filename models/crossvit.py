"""CrossViT: Chen et al., Cross-Attention Multi-Scale Vision Transformer for Image Classification (arXiv:2103.14899).

Two branches read small and large patches. After a few blocks each, the class token of either attends to the patches of
the other. The trunk carries a pair of token sequences (N, 1 + patches, C).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.crossvit import CrossVitSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.class_attention import ClassAttention
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import PatchEmbed, as_pair
from zoo.models.layers.tracing import leaf_function
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock
from zoo.models.token_model import TokenModel

__getattr__ = family_attributes("crossvit")

Pair = list[Tensor]
"""The tokens of both branches."""

BRANCHES = 0, 1
layer_norm = token_norm_factory("layernorm", eps=1e-6)


def convolutional_embedding(patch_size: int, in_chans: int, channels: int) -> nn.Sequential:
    """Three convolutions with the stride of patches of 12 or 16 pixels."""
    if patch_size not in (12, 16):
        raise UsageError(f"Embeddings by several convolutions are for patches of 12 or 16, found {patch_size}.")
    second, third = (
        (nn.Conv2d(channels // 4, channels // 2, 3, stride=3), nn.Conv2d(channels // 2, channels, 3, padding=1))
        if patch_size == 12
        else (
            nn.Conv2d(channels // 4, channels // 2, 3, stride=2, padding=1),
            nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
        )
    )
    first = nn.Conv2d(in_chans, channels // 4, 7, stride=4, padding=3)
    return nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True), third)


class CrossAttentionBlock(nn.Module):
    """The first token and what it finds among all of them, normed: (N, L, C) -> (N, 1, C)."""

    def __init__(self, style: BlockStyle, drop_path: float) -> None:
        super().__init__()
        self.norm1 = style.make_norm()
        self.attn = ClassAttention(style, ("wq", "wk", "wv"))
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1] + self.drop_path(self.attn(self.norm1(x)))


def projection(channels: int, out_channels: int) -> nn.Sequential:
    """For a class token that changes branches."""
    return nn.Sequential(layer_norm(channels), nn.GELU(), nn.Linear(channels, out_channels))


class MultiScaleBlock(nn.Module):
    """Blocks of each branch, then the exchange: class token to the other's channels, cross attention, back."""

    def __init__(self, styles: Sequence[BlockStyle], depth: Sequence[int], drop_path: Sequence[float]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(*(TransformerBlock(styles[own], drop_path[i]) for i in range(depth[own]))) for own in BRANCHES
        )
        channels = [style.embed_dim for style in styles]
        self.projs = nn.ModuleList(projection(channels[own], channels[1 - own]) for own in BRANCHES)
        self.fusion = nn.ModuleList(CrossAttentionBlock(styles[1 - own], drop_path[-1]) for own in BRANCHES)
        self.revert_projs = nn.ModuleList(projection(channels[1 - own], channels[own]) for own in BRANCHES)

    def forward(self, x: Pair) -> Pair:
        x = [self.blocks[own](x[own]) for own in BRANCHES]
        return [self._exchange(own, x[own], x[1 - own]) for own in BRANCHES]

    def _exchange(self, own: int, tokens: Tensor, others: Tensor) -> Tensor:
        """The branch's tokens with a class token that has seen the patches of the other."""
        asking = self.projs[own](tokens[:, :1])
        found = self.fusion[own](torch.cat([asking, others[:, 1:]], 1))
        return torch.cat([self.revert_projs[own](found), tokens[:, 1:]], 1)


class CrossVit(TokenModel):
    """Patch embeddings, blocks of two branches, norms, class tokens, classifiers `head.0` and `head.1`.

    Images of another size are resized to the spec's. `forward_features` and `forward_intermediates` give the tokens of
    both branches as a list; feature levels are the blocks of the first branch, then those of the second.

    Args:
        spec: the variant, with the size of the images.
        num_classes: outputs of the classifiers, whose mean is returned; 0 leaves them out.
        in_chans: channels of the image.
        global_pool: token, avg, max, avgmax, or '' with num_classes=0, which leaves a list of both branches' tokens.
        crop_scale: the second branch reads the middle of the image instead of all of it, scaled down.
        drop_rate: dropout before the classifiers.
        pos_drop_rate, proj_drop_rate, attn_drop_rate: dropout of the embeddings, within, of the attention weights.
        drop_path_rate: stochastic depth of the last block.
    """

    num_prefix_tokens = 1

    def __init__(
        self,
        spec: CrossVitSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "token",
        crop_scale: bool = False,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec, self.crop_scale = spec, crop_scale
        height, width = self.img_size = as_pair(spec.img_size)
        self.branch_sizes = self.img_size, (int(height * spec.img_scale), int(width * spec.img_scale))
        embeddings = [self._make_embedding(own) for own in BRANCHES]
        self.patch_embed = nn.ModuleList(embeddings)
        self.grid_sizes = [embedding.grid_size for embedding in embeddings]
        for own, channels in enumerate(spec.embed_dim):
            num_tokens = 1 + embeddings[own].num_patches
            self.register_parameter(f"pos_embed_{own}", nn.Parameter(torch.empty(1, num_tokens, channels)))
            self.register_parameter(f"cls_token_{own}", nn.Parameter(torch.empty(1, 1, channels)))
        self.pos_drop = nn.Dropout(pos_drop_rate)
        styles = [
            BlockStyle.of(spec, embed_dim=channels, norm=layer_norm, attn_drop=attn_drop_rate, proj_drop=proj_drop_rate)
            for channels in spec.embed_dim
        ]
        depth = max(spec.depth)
        rates = drop_path_schedule(drop_path_rate, depth * spec.num_blocks)
        self.blocks = nn.ModuleList(
            MultiScaleBlock(styles, spec.depth, rates[i * depth : (i + 1) * depth]) for i in range(spec.num_blocks)
        )
        scales = 1.0, spec.img_scale
        self.feature_info = [
            {
                "num_chs": spec.embed_dim[own],
                "reduction": round(spec.patch_size[own] / scales[own]),
                "module": f"blocks.{index}",
                "name": f"blocks.{index}.branch{own}",
            }
            for own in BRANCHES
            for index in range(spec.num_blocks)
        ]
        self.default_out_indices = (spec.num_blocks - 1, 2 * spec.num_blocks - 1)
        self.norm = nn.ModuleList(map(layer_norm, spec.embed_dim))
        self.num_features = sum(spec.embed_dim)
        self.head = nn.ModuleList(nn.Identity() for _ in BRANCHES)
        self.make_head(global_pool)

    def _make_embedding(self, own: int) -> PatchEmbed:
        patch_size, channels = self.spec.patch_size[own], self.spec.embed_dim[own]
        embedding = PatchEmbed(self.branch_sizes[own], patch_size, self.in_chans, channels)
        if self.spec.multi_conv:
            embedding.set_submodule("proj", convolutional_embedding(patch_size, self.in_chans, channels))
        return embedding

    def make_head(self, global_pool: str) -> None:
        super().make_head(global_pool)
        if self.num_classes:
            for own, channels in enumerate(self.spec.embed_dim):
                self.head[own] = nn.Linear(channels, self.num_classes)

    def reset_parameters(self) -> None:
        for own in BRANCHES:
            nn.init.trunc_normal_(self.get_parameter(f"pos_embed_{own}"), std=0.02)
            nn.init.trunc_normal_(self.get_parameter(f"cls_token_{own}"), std=0.02)

    # ------------------------------------------------------------ forward

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "pos_drop", self._embed
        for index, block in enumerate(self.blocks):
            yield f"blocks.{index}", block

    def _embed(self, x: Tensor) -> Any:
        return [self._embed_branch(own, x) for own in BRANCHES]

    def _embed_branch(self, own: int, image: Tensor) -> Tensor:
        patches = self.patch_embed[own](fitted(image, self.branch_sizes[own], crop=self.crop_scale))
        class_token = getattr(self, f"cls_token_{own}").expand(patches.shape[0], -1, -1)
        return self.pos_drop(torch.cat([class_token, patches], 1) + getattr(self, f"pos_embed_{own}"))

    def finish(self, x: Any) -> Any:
        return [norm(tokens) for norm, tokens in zip(self.norm, x, strict=True)]

    def classifier_input(self, x: Any) -> list[Tensor]:
        return [self.global_pool(tokens) for tokens in x]

    def embedding(self, pooled: Any) -> Any:
        """The vectors of both branches side by side; the tokens of both where they are not pooled."""
        return torch.cat(pooled, 1) if self.global_pool.pool_type else pooled

    # ------------------------------------------------------------ features

    def branch(self, level: int) -> int:
        """The branch that a level is of: the levels of the first come before those of the second."""
        return level // self.spec.num_blocks

    def level_state(self, x: Any, level: int) -> Tensor:
        return x[self.branch(level)]

    def level_norm(self, level: int) -> Callable[[Tensor], Tensor]:
        return self.norm[self.branch(level)]

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - images are resized to one
        return x[:, 1:].transpose(1, 2).unflatten(2, self.grid_sizes[self.branch(level)]).contiguous()


@leaf_function
def fitted(image: Tensor, size: Size, *, crop: bool) -> Tensor:
    """The image (N, C, H, W) in another height and width: its middle where it is larger and to be cropped."""
    height, width = image.shape[2:]
    if (height, width) == size:
        return image
    if crop and size[0] <= height and size[1] <= width:
        top, left = round((height - size[0]) / 2), round((width - size[1]) / 2)
        return image[:, :, top : top + size[0], left : left + size[1]]
    return F.interpolate(image, size=size, mode="bicubic", align_corners=False)


def repair_keys(state_dict: Mapping[str, Tensor], model: CrossVit) -> dict[str, Tensor]:  # noqa: ARG001
    """The authors' files keep embeddings and class tokens in lists: `pos_embed.0`."""
    lists = ("pos_embed.", "cls_token.")
    return {key.replace(".", "_") if key.startswith(lists) else key: value for key, value in state_dict.items()}
