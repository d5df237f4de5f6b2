"""Vision transformers: an image as a sequence of patches.

Dosovitskiy et al., An Image is Worth 16x16 Words (arXiv:2010.11929); Steiner et al., How to train your ViT
(arXiv:2106.10270); Zhai et al., Scaling Vision Transformers (arXiv:2106.04560) and SigLIP (arXiv:2303.15343); Radford
et al., CLIP (arXiv:2103.00020); Oquab et al., DINOv2 (arXiv:2304.07193); Darcet et al., registers (arXiv:2309.16588);
Touvron et al., DeiT III (arXiv:2204.07118); Beyer et al., FlexiViT (arXiv:2212.08013); Wang et al., BEiT-3
(arXiv:2208.10442); Fini et al., AIMv2 (arXiv:2411.14402).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.vision_transformer import VisionTransformerSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention_pool import LatentAttentionPool
from zoo.models.layers.drop import PatchDrop, drop_path_schedule
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import PatchEmbed
from zoo.models.layers.pool import TokenPool
from zoo.models.layers.position_embedding import resample_positions
from zoo.models.layers.transformer_block import BlockStyle
from zoo.models.token_model import TokenModel
from zoo.models.vision_transformer_blocks import BLOCKS
from zoo.models.vision_transformer_keys import KEY_LAYOUTS, repair_keys, unused_keys

__all__ = ["KEY_LAYOUTS", "VisionTransformer", "repair_keys", "unused_keys"]
__getattr__ = family_attributes("vision_transformer")


class VisionTransformer(TokenModel):
    """Patches, prefix tokens, position embeddings, blocks, norm, pooling, classifier `head`.

    Args:
        spec: the variant.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        drop_rate: dropout before the classifier.
        pos_drop_rate, patch_drop_rate: dropout of the embedded tokens, part of the patches left out in training.
        proj_drop_rate, attn_drop_rate: dropout behind the layers of a block, of its attention weights.
        drop_path_rate: the rate that stochastic depth grows towards.
    """

    head_parts = ("attn_pool", "fc_norm", "global_pool")
    prefix_names: tuple[str, ...] = ("cls_token", "reg_token")
    """Parameters that come before the patches, in this order; one that a variant has not is None."""

    def __init__(
        self,
        spec: VisionTransformerSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        patch_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        self.num_features = spec.embed_dim
        norm = token_norm_factory(spec.norm_layer, spec.norm_eps)
        self.patch_embed = self.make_patch_embed(
            bias=not spec.pre_norm,
            norm=norm if spec.embed_norm else None,
            layout="NHWC" if spec.dynamic_img_size else "NLC",
            any_size=spec.dynamic_img_size,
            pad=spec.dynamic_img_pad,
        )
        self._make_tokens(spec)
        self.pos_drop = nn.Dropout(pos_drop_rate)
        self.patch_drop = PatchDrop(patch_drop_rate, self.num_prefix_tokens) if patch_drop_rate else nn.Identity()
        self.norm_pre = norm(spec.embed_dim) if spec.pre_norm else nn.Identity()
        style = BlockStyle.of(spec, norm=norm, attn_drop=attn_drop_rate, proj_drop=proj_drop_rate)
        rates = drop_path_schedule(drop_path_rate, spec.depth)
        self.blocks = nn.Sequential(*(self.make_block(style, rate, depth) for depth, rate in enumerate(rates)))
        self.feature_info = [
            {"num_chs": spec.embed_dim, "reduction": max(self.patch_embed.patch_size), "module": f"blocks.{depth}"}
            for depth in range(spec.depth)
        ]
        norm_last = spec.norm_after_pool
        self.norm = norm(spec.embed_dim) if spec.final_norm and not norm_last else nn.Identity()
        self.attn_pool: nn.Module = nn.Identity()
        if spec.global_pool == "map":
            self.attn_pool = LatentAttentionPool(
                spec.embed_dim,
                spec.attn_pool_num_heads or spec.num_heads,
                mlp_ratio=spec.attn_pool_mlp_ratio or spec.mlp_ratio,
                norm=norm,
                act=spec.act_layer,
            )
        self.fc_norm = norm(spec.embed_dim) if spec.final_norm and norm_last else nn.Identity()
        self.make_head(spec.global_pool)

    def _make_tokens(self, spec: VisionTransformerSpec) -> None:
        """Create the prefix tokens and the position embedding."""
        counts = {"cls_token": int(spec.class_token), "dist_token": 1, "reg_token": spec.reg_tokens}
        for name in self.prefix_names:
            count = counts[name]
            self.register_parameter(name, nn.Parameter(torch.empty(1, count, spec.embed_dim)) if count else None)
        self.num_prefix_tokens = sum(counts[name] for name in self.prefix_names)
        self.num_embedded_prefix = 0 if spec.no_embed_class else self.num_prefix_tokens
        length = self.patch_embed.num_patches + self.num_embedded_prefix
        positions = nn.Parameter(torch.empty(1, length, spec.embed_dim)) if spec.embed_positions else None
        self.register_parameter("pos_embed", positions)

    def make_patch_embed(self, **options: Any) -> PatchEmbed:
        """The layer from the image to its patches; `options` are those of PatchEmbed."""
        spec = self.spec
        return PatchEmbed(spec.img_size, spec.patch_size, self.in_chans, spec.embed_dim, **options)

    def make_block(self, style: BlockStyle, drop_path: float, depth: int) -> nn.Module:
        """The block number `depth`, from 0."""
        block: nn.Module = BLOCKS[self.spec.block](style, drop_path, depth)
        return block

    @property
    def img_size(self) -> Size:  # type: ignore[override]
        """Height and width of the images that the position embeddings are made for."""
        return self.patch_embed.img_size

    # ------------------------------------------------------------ forward

    def embed(self, x: Tensor) -> Tensor:
        """Image -> tokens (N, prefix + patches, C) with their positions."""
        return self.norm_pre(self.patch_drop(self.embed_all(x)))

    def embed_all(self, x: Tensor) -> Tensor:
        """The same before patches are left out and before the norm."""
        x = self.patch_embed(x)
        positions: Tensor | None = self.pos_embed
        if self.spec.dynamic_img_size:
            grid = (x.shape[1], x.shape[2])
            if positions is not None:
                positions = resample_positions(positions, self.patch_embed.grid_size, grid, self.num_embedded_prefix)
            x = x.flatten(1, 2)
        prefix = [token.expand(x.shape[0], -1, -1) for token in (getattr(self, name) for name in self.prefix_names)
                  if token is not None]  # fmt: skip
        if self.spec.no_embed_class and positions is not None:
            x = x + positions
        if prefix:
            x = torch.cat([*prefix, x], 1)
        if not self.spec.no_embed_class and positions is not None:
            x = x + positions
        return self.pos_drop(x)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "norm_pre", self.embed
        for depth, block in enumerate(self.blocks):
            yield f"blocks.{depth}", block

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.fc_norm(self.attn_pool(x))

    # ------------------------------------------------------------ head

    def make_pool(self, pool_type: str) -> TokenPool:
        if pool_type == "token" and not self.spec.class_token:
            raise UsageError("global_pool='token' needs a class token, which this model has not.")
        if pool_type == "map" and isinstance(self.attn_pool, nn.Identity):
            raise UsageError("The pooling 'map' is chosen when the model is built: create_model(global_pool='map').")
        if pool_type != "map":
            self.attn_pool = nn.Identity()
        return TokenPool(
            pool_type, self.num_prefix_tokens, self.spec.pool_include_prefix, attention_follows=pool_type == "map"
        )

    # ------------------------------------------------------------ initial values

    def reset_parameters(self) -> None:
        """Positions as arXiv:2010.11929, prefix tokens next to zero."""
        if self.pos_embed is not None:
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for token in map(self._parameters.get, self.prefix_names):
            if token is not None:
                nn.init.normal_(token, std=1e-6)
