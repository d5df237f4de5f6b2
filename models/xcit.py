"""XCiT: El-Nouby et al., Cross-Covariance Image Transformers (arXiv:2106.09681).

Attention between channels instead of patches, whose cost grows with their number alone, and convolutions between
neighbouring patches. The blocks carry maps (N, H, W, C); behind them a class token reads the patches.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.xcit import XcitSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.class_token_model import ClassTokenModel
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import rename_keys
from zoo.models.layers.activation import make_activation
from zoo.models.layers.class_attention import ClassAttentionBlock
from zoo.models.layers.cross_covariance import CrossCovarianceAttention, FourierPositions
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import as_pair
from zoo.models.layers.scaled_block import ScaledBlock
from zoo.models.layers.transformer_block import BlockStyle

__getattr__ = family_attributes("xcit")


class ConvolutionalEmbedding(nn.Module):
    """Image (N, C, H, W) -> map (N, H / patch, W / patch, D): convolutions that halve the map, each with its norm."""

    def __init__(self, in_chans: int, channels: int, patch_size: int, img_size: tuple[int, int]) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.num_patches = (img_size[0] // patch_size) * (img_size[1] // patch_size)
        depth = patch_size.bit_length() - 1
        layers: list[nn.Module] = []
        for index in range(depth):
            width = channels // 2 ** (depth - 1 - index)
            conv = nn.Conv2d(in_chans, width, 3, stride=2, padding=1, bias=False)
            layers += [nn.Sequential(conv, nn.BatchNorm2d(width)), nn.GELU()]
            in_chans = width
        self.proj = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x)
        return x.permute(0, 2, 3, 1)


def local_patch_interaction(channels: int, act_layer: str) -> nn.Sequential:
    """Two depthwise convolutions with activation and norm between them, on (N, C, H, W) (section 3.3)."""
    first, second = (nn.Conv2d(channels, channels, 3, padding=1, groups=channels) for _ in range(2))
    parts = {"conv1": first, "act": make_activation(act_layer), "bn": nn.BatchNorm2d(channels), "conv2": second}
    return nn.Sequential(OrderedDict(parts))


class XcitBlock(ScaledBlock):
    """Attention between channels, convolutions between patches, a perceptron: (N, H, W, C) -> the same."""

    def __init__(self, style: BlockStyle, drop_path: float) -> None:
        super().__init__(style, ("gamma1", "gamma3", "gamma2"))
        self.norm1 = style.make_norm()
        self.attn = CrossCovarianceAttention(style)
        self.drop_path1 = make_drop_path(drop_path)
        self.norm3 = style.make_norm()
        self.local_mp = local_patch_interaction(style.embed_dim, style.act_layer)
        self.drop_path3 = make_drop_path(drop_path)
        self.norm2 = style.make_norm()
        self.mlp = style.make_mlp()
        self.drop_path2 = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        found = self.attn(self.norm1(x).flatten(1, 2)).unflatten(1, x.shape[1:3])
        x = x + self.drop_path1(self.scaled(0, found))
        found = self.local_mp(self.norm3(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.drop_path3(self.scaled(1, found))
        return x + self.drop_path2(self.scaled(2, self.mlp(self.norm2(x))))


class XcitClassBlock(ClassAttentionBlock):
    """Class attention as the authors' networks have it: the patches pass the branches too, and so double."""

    def __init__(self, style: BlockStyle, tokens_norm: bool) -> None:
        super().__init__(style, ("gamma1", "gamma2"))
        self.tokens_norm = tokens_norm

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.scaled(0, torch.cat([self.attn(normed), normed[:, 1:]], 1))
        first, patches = x[:, :1], x[:, 1:]
        if self.tokens_norm:
            first, patches = self.norm2(x).split([1, patches.shape[1]], 1)
        else:
            first = self.norm2(first)
        return torch.cat([first + self.scaled(1, self.mlp(first)), 2 * patches], 1)


class Xcit(ClassTokenModel):
    """Convolutional embedding, positions, blocks, class attention, norm, pooling, classifier `head`.

    Args:
        spec: the variant.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        global_pool: token, avg, max, avgmax, or '' with num_classes=0.
        img_size: of the images, (height, width) or the side; the weights do not depend on it.
        drop_rate: dropout before the classifier.
        pos_drop_rate, proj_drop_rate, attn_drop_rate: dropout of the embeddings, within, of the attention weights.
        drop_path_rate: stochastic depth of every block.
    """

    class_blocks = "cls_attn_blocks"

    def __init__(
        self,
        spec: XcitSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "token",
        img_size: int | Size = 224,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        if any(side % spec.patch_size for side in as_pair(img_size)):
            raise UsageError(f"The sides of an image must be multiples of {spec.patch_size}, found {img_size}.")
        self.spec = spec
        channels = self.num_features = spec.embed_dim
        self.patch_embed = ConvolutionalEmbedding(in_chans, channels, spec.patch_size, as_pair(img_size))
        self.cls_token = nn.Parameter(torch.empty(1, 1, channels))
        self.pos_embed = FourierPositions(channels)
        self.pos_drop = nn.Dropout(pos_drop_rate)
        style = BlockStyle.of(
            spec,
            norm=token_norm_factory(),
            init_values=spec.eta,
            attn_drop=attn_drop_rate,
            proj_drop=proj_drop_rate,
        )
        self.blocks = nn.Sequential(*(XcitBlock(style, drop_path_rate) for _ in range(spec.depth)))
        self.feature_info = [
            {"num_chs": channels, "reduction": spec.patch_size, "module": f"blocks.{index}"}
            for index in range(spec.depth)
        ]
        self.cls_attn_blocks = nn.ModuleList(
            XcitClassBlock(style, spec.tokens_norm) for _ in range(spec.cls_attn_layers)
        )
        self.norm = style.make_norm()
        self.make_head(global_pool)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "pos_drop", self._embed
        for index, block in enumerate(self.blocks):
            yield f"blocks.{index}", block

    def _embed(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        x = x + self.pos_embed((x.shape[1], x.shape[2]))
        return self.pos_drop(x.contiguous())  # channels last in memory too, as blocks read them

    def finish(self, x: Tensor) -> Tensor:
        return super().finish(x.flatten(1, 2))

    def level_state(self, x: Tensor, level: int) -> Tensor:  # noqa: ARG002 - all levels are alike
        return x.flatten(1, 2)

    def feature_size(self, height: int, width: int) -> Size:
        return math.ceil(height / self.spec.patch_size), math.ceil(width / self.spec.patch_size)


def repair_keys(state_dict: Mapping[str, Tensor], model: Xcit) -> dict[str, Tensor]:  # noqa: ARG001
    """The authors' files: other words for the positions, one layer for the queries, keys and values of class attention.

    Their class attention makes queries of all tokens and uses the first.
    """
    repaired: dict[str, Tensor] = {}
    for key, value in rename_keys(state_dict, {r"^pos_embeder\.": "pos_embed."}).items():
        before, joint, kind = key.partition(".qkv.")
        if joint and key.startswith(Xcit.class_blocks):
            repaired |= {f"{before}.{name}.{kind}": part for name, part in zip("qkv", value.chunk(3), strict=True)}
        else:
            repaired[key] = value
    return repaired
