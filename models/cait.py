"""CaiT: Touvron et al., Going deeper with Image Transformers (arXiv:2103.17239).

Blocks over patches alone, each branch scaled, with attention whose heads talk (Shazeer et al., arXiv:2003.02436).
Behind them a class token reads the patches.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.cait import CaitSpec
from zoo.models.base import Step
from zoo.models.class_token_model import ClassTokenModel
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import Attention, merge_heads
from zoo.models.layers.class_attention import ClassAttentionBlock
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import PatchEmbed
from zoo.models.layers.scaled_block import ScaledBlock
from zoo.models.layers.transformer_block import BlockStyle

__getattr__ = family_attributes("cait")

SCALES = "gamma_1", "gamma_2"


class HeadMixing(nn.Linear):
    """A linear layer across the heads of (N, heads, L, L), which stay where they are."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:, :, None, None], self.bias)


class TalkingHeadsAttention(Attention):
    """Attention whose scores are mixed across the heads, and its weights likewise (arXiv:2003.02436)."""

    def __init__(self, style: BlockStyle) -> None:
        channels, heads = style.embed_dim, style.num_heads
        super().__init__(channels, heads, qkv_bias=style.qkv_bias, proj_drop=style.proj_drop)
        self.proj_l = HeadMixing(heads, heads)
        self.proj_w = HeadMixing(heads, heads)
        self.attn_drop = nn.Dropout(style.attn_drop)

    def forward(self, x: Tensor, bias: Tensor | None = None, rotary: Tensor | None = None) -> Tensor:  # noqa: ARG002
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4).unbind(0)
        scores = self.proj_l((q * self.head_dim**-0.5) @ k.transpose(-2, -1))
        weights = self.attn_drop(self.proj_w(scores.softmax(-1)))
        return self.proj_drop(self.proj(merge_heads(weights @ v)))


class CaitBlock(ScaledBlock):
    """Attention and a perceptron on patches (N, L, C)."""

    def __init__(self, style: BlockStyle, drop_path: float) -> None:
        super().__init__(style, SCALES)
        self.norm1 = style.make_norm()
        self.attn = TalkingHeadsAttention(style)
        self.drop_path = make_drop_path(drop_path)
        self.norm2 = style.make_norm()
        self.mlp = style.make_mlp()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.scaled(0, self.attn(self.norm1(x))))
        return x + self.drop_path(self.scaled(1, self.mlp(self.norm2(x))))


class Cait(ClassTokenModel):
    """Patches with position embeddings, blocks, class attention, norm, pooling, classifier `head`.

    Args:
        spec: the variant, with the size of the images.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        global_pool: token, avg, max, avgmax, or '' with num_classes=0.
        drop_rate: dropout before the classifier.
        pos_drop_rate, proj_drop_rate, attn_drop_rate: dropout of the embeddings, within, of the attention weights.
        drop_path_rate: stochastic depth of every block.
    """

    class_blocks = "blocks_token_only"

    def __init__(
        self,
        spec: CaitSpec,
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
        channels = self.num_features = spec.embed_dim
        self.patch_embed = PatchEmbed(spec.img_size, spec.patch_size, in_chans, channels)
        self.img_size = self.patch_embed.img_size
        self.cls_token = nn.Parameter(torch.empty(1, 1, channels))
        self.pos_embed = nn.Parameter(torch.empty(1, self.patch_embed.num_patches, channels))
        self.pos_drop = nn.Dropout(pos_drop_rate)
        norm = token_norm_factory()
        style = BlockStyle.of(spec, norm=norm, attn_drop=attn_drop_rate, proj_drop=proj_drop_rate)
        self.blocks = nn.Sequential(*(CaitBlock(style, drop_path_rate) for _ in range(spec.depth)))
        self.feature_info = [
            {"num_chs": channels, "reduction": spec.patch_size, "module": f"blocks.{index}"}
            for index in range(spec.depth)
        ]
        plain = BlockStyle.of(spec, norm=norm, mlp_ratio=4.0)
        self.blocks_token_only = nn.ModuleList(ClassAttentionBlock(plain, SCALES) for _ in range(spec.depth_token_only))
        self.norm = norm(channels)
        self.make_head(global_pool)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "pos_drop", self._embed
        for index, block in enumerate(self.blocks):
            yield f"blocks.{index}", block

    def _embed(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x) + self.pos_embed
        return self.pos_drop(x.contiguous())  # channels last in memory too, as blocks read them

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
