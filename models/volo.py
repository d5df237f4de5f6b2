"""VOLO: Yuan et al., Vision Outlooker for Visual Recognition (arXiv:2106.13112).

Outlookers on fine maps (N, H, W, C), then transformer blocks on tokens, then a class token that reads them. A second
classifier reads every patch (arXiv:2104.10858); the strongest of its answers count half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.volo import PATCH_SIZE, VoloSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.class_token_model import ClassTokenModel
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import check_heads
from zoo.models.layers.class_attention import ClassAttentionBlock
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.patch_embed import as_pair, check_image_size
from zoo.models.layers.pool import TokenPool
from zoo.models.layers.tracing import leaf_function, same
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock

__getattr__ = family_attributes("volo")

WINDOW, STRIDE = 3, 2
"""Of outlook attention: the side of a window, and the distance of two of them."""


def cut_windows(x: Tensor) -> Tensor:
    """Map (N, H, W, heads, D) -> windows around every second cell (N, rows, columns, heads, cells of a window, D)."""
    border = WINDOW // 2
    x = F.pad(x, (0, 0, 0, 0, border, border, border, border))
    return x.unfold(1, WINDOW, STRIDE).unfold(2, WINDOW, STRIDE).flatten(5).transpose(4, 5)


@leaf_function
def add_windows(windows: Tensor, size: Size) -> Tensor:
    """The sums of what `cut_windows` cut out of a map of this height and width, each at its place."""
    height, width = windows.shape[1] * STRIDE, windows.shape[2] * STRIDE
    heads, _, channels = windows.shape[3:]
    sums = windows.new_zeros(windows.shape[0], height + 1, width + 1, heads, channels)
    for index, cells in enumerate(windows.unbind(4)):
        row, column = divmod(index, WINDOW)
        sums[:, row : row + height : STRIDE, column : column + width : STRIDE] += cells
    border = WINDOW // 2
    return sums[:, border : border + size[0], border : border + size[1]]


class OutlookAttention(nn.Module):
    """Each cell of a coarser map says how the cells around it are mixed: (N, H, W, C) -> the same (section 3.1)."""

    def __init__(self, style: BlockStyle) -> None:
        super().__init__()
        channels = style.embed_dim
        check_heads(channels, style.num_heads)
        self.num_heads = style.num_heads
        self.scale = (channels // style.num_heads) ** -0.5
        self.v = nn.Linear(channels, channels, bias=style.qkv_bias is True)
        self.attn = nn.Linear(channels, WINDOW**4 * style.num_heads)
        self.attn_drop = nn.Dropout(style.attn_drop)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        values = cut_windows(self.v(x).unflatten(3, (self.num_heads, -1)))
        centres = F.avg_pool2d(x.permute(0, 3, 1, 2), STRIDE, ceil_mode=True).permute(0, 2, 3, 1)
        scores = self.attn(centres).unflatten(3, (self.num_heads, WINDOW**2, WINDOW**2))
        found = self.attn_drop((scores * self.scale).softmax(-1)) @ values
        return self.proj(add_windows(found, (x.shape[1], x.shape[2])).flatten(3))


class Outlooker(nn.Module):
    """Outlook attention and a perceptron on a map (N, H, W, C)."""

    def __init__(self, style: BlockStyle) -> None:
        super().__init__()
        self.norm1 = style.make_norm()
        self.attn = OutlookAttention(style)
        self.norm2 = style.make_norm()
        self.mlp = style.make_mlp()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def make_block(style: BlockStyle, drop_path: float, is_first: bool) -> nn.Module:
    """A block of the first stage or of a later one."""
    return Outlooker(style) if is_first else TransformerBlock(style, drop_path)


class Downsample(nn.Module):
    """A map (N, H, W, C) of half the size, by a convolution over every four cells."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x.permute(0, 3, 1, 2))
        return x.permute(0, 2, 3, 1)


class PatchEmbedding(nn.Module):
    """Image (N, C, H, W) -> map (N, H / 8, W / 8, D): three convolutions with norms, then one over the patches."""

    def __init__(self, in_chans: int, hidden: int, channels: int, img_size: Size) -> None:
        super().__init__()
        self.num_patches = (img_size[0] // PATCH_SIZE) * (img_size[1] // PATCH_SIZE)
        self.conv = nn.Sequential()
        for kernel, stride in ((7, 2), (3, 1), (3, 1)):
            conv = nn.Conv2d(in_chans, hidden, kernel, stride, padding=kernel // 2, bias=False)
            self.conv.extend([conv, nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)])
            in_chans = hidden
        self.proj = nn.Conv2d(hidden, channels, PATCH_SIZE // 2, stride=PATCH_SIZE // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(self.conv(x))
        return x.permute(0, 2, 3, 1)


class VOLO(ClassTokenModel):
    """Patch embedding, the stages of `network`, class attention `post_network`, norm, classifiers.

    `head` reads what is pooled, `aux_head` every patch: the logits are those of `head` and half of the largest among
    the patches'. Pooling takes in the class token, as published.

    Args:
        spec: the variant, with the size of the images.
        num_classes: outputs of the classifiers; 0 leaves them out.
        in_chans: channels of the image.
        global_pool: token, avg, max, avgmax, or '' with num_classes=0.
        drop_rate: dropout before the classifiers.
        pos_drop_rate, attn_drop_rate: dropout of the tokens with their positions, of the attention weights.
        drop_path_rate: the rate that stochastic depth of the transformer blocks grows towards.
    """

    num_prefix_tokens = 0
    class_blocks = "post_network"

    def __init__(
        self,
        spec: VoloSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "token",
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        self.img_size = height, width = as_pair(spec.img_size)
        if height % PATCH_SIZE or width % PATCH_SIZE:
            raise UsageError(f"The sides of an image must be multiples of {PATCH_SIZE}, found {height} x {width}.")
        first, channels = spec.embed_dims[0], spec.embed_dims[-1]
        self.patch_embed = PatchEmbedding(in_chans, spec.stem_hidden_dim, first, self.img_size)
        stride = 2 * PATCH_SIZE
        self.pos_embed = nn.Parameter(torch.empty(1, height // stride, width // stride, channels))
        self.pos_drop = nn.Dropout(pos_drop_rate)
        styles = [
            BlockStyle.of(spec, embed_dim=dim, num_heads=heads, norm=nn.LayerNorm, attn_drop=attn_drop_rate)
            for dim, heads in zip(spec.embed_dims, spec.num_heads, strict=True)
        ]
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.layers)))
        stages = [
            nn.Sequential(*(make_block(style, rate, is_first=style is styles[0]) for rate in islice(rates, depth)))
            for style, depth in zip(styles, spec.layers, strict=True)
        ]
        self.network = nn.ModuleList([stages[0], Downsample(first, channels), *stages[1:]])
        self.feature_info = [
            {"num_chs": style.embed_dim, "reduction": stride if index else PATCH_SIZE, "module": f"network.{place}"}
            for index, (style, place) in enumerate(zip(styles, (0, *range(2, 1 + len(styles))), strict=True))
        ]
        self.cls_token = nn.Parameter(torch.empty(1, 1, channels))
        self.post_network = nn.ModuleList(ClassAttentionBlock(styles[-1], layers=("q", "kv")) for _ in range(2))
        self.norm = styles[-1].make_norm()
        self.num_features = channels
        self.make_head(global_pool)

    def make_pool(self, pool_type: str) -> TokenPool:
        return TokenPool(pool_type, 1, include_prefix=True)

    # ------------------------------------------------------------ forward

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "patch_embed", self._embed
        for place, stage in enumerate(self.network):
            yield f"network.{place}", self._to_tokens if place == 1 else stage

    def _embed(self, x: Tensor) -> Tensor:
        check_image_size(x, as_pair(self.spec.img_size))
        return self.patch_embed(x)

    def _to_tokens(self, x: Tensor) -> Tensor:
        return self.pos_drop(self.network[1](x) + self.pos_embed).flatten(1, 2)

    def classifier_input(self, x: Tensor) -> Any:
        return [self.global_pool(x), x[:, 1:]] if self.global_pool.pool_type else x

    def embedding(self, pooled: Any) -> Tensor:
        return pooled[0] if isinstance(pooled, list) else pooled

    def classify(self, pooled: Any) -> Tensor:
        if not self.num_classes:
            return self.embedding(pooled)
        of_image, of_patches = self.logits(pooled)
        return of_image + 0.5 * of_patches.amax(1)

    # ------------------------------------------------------------ features

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] | None = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        kept = super().prune_intermediate_layers(indices, prune_norm, prune_head)
        if max(kept) == 0:
            self.register_parameter("pos_embed", None)
        return kept

    def level_state(self, x: Tensor, level: int) -> Tensor:
        return x if level else x.flatten(1, 2)

    def level_norm(self, level: int) -> Callable[[Tensor], Tensor]:
        """The first level has other channels than the norm."""
        return self.norm if level else same

    def level_size(self, size: Size, level: int) -> Size:
        stride = self.feature_info[level]["reduction"]
        return size[0] // stride, size[1] // stride
