"""Patches of what a convolutional network makes of an image.

Dosovitskiy et al., An Image is Worth 16x16 Words (arXiv:2010.11929), section 3.1, hybrid architecture.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.layers.patch_embed import PatchEmbed, Size, as_pair, check_image_size, pad_to_patches


class Backbone(NamedTuple):
    """A network image -> map (N, `channels`, H, W) with `stride` pixels to a cell, perhaps one more at the border.

    `padded` says that there is a cell for every `stride` pixels that begin, not only for whole ones; `embeds` that its
    cells are embeddings as they are, without a projection.
    """

    network: nn.Module
    channels: int
    stride: int
    padded: bool = True
    embeds: bool = False


class HybridEmbed(PatchEmbed):
    """Image (N, C, H, W) -> embeddings of the patches of its map, by `backbone`, then `proj`.

    Args:
        backbone: makes the map.
        img_size: (height, width) of the images, or the side.
        map_patch: of a patch, in cells of the map; `patch_size` is that in pixels.
        embed_dim: channels of an embedding.
        options: bias, norm, layout, any_size, pad as for PatchEmbed.
    """

    def __init__(
        self,
        backbone: Backbone,
        img_size: int | Size,
        map_patch: int | Size,
        embed_dim: int,
        **options: Any,
    ) -> None:
        self.stride, self.padded, self.map_patch = backbone.stride, backbone.padded, as_pair(map_patch)
        pixels = self.map_patch[0] * self.stride, self.map_patch[1] * self.stride
        super().__init__(img_size, pixels, backbone.channels, embed_dim, **options)
        if backbone.embeds and (self.map_patch != (1, 1) or backbone.channels != embed_dim):
            raise UsageError(f"Without a projection cells of {backbone.channels} channels are the embeddings.")
        bias = self.proj.bias is not None
        self.backbone = backbone.network
        projection = nn.Conv2d(backbone.channels, embed_dim, self.map_patch, self.map_patch, bias=bias)
        self.proj = nn.Identity() if backbone.embeds else projection  # type: ignore[assignment]

    def map_size(self, height: int, width: int) -> Size:
        """Cells (down, across) of the map of an image of this size."""
        rest = self.stride - 1 if self.padded else 0
        return (height + rest) // self.stride, (width + rest) // self.stride

    @property
    def grid_size(self) -> Size:
        rows, columns = self.map_size(*self.img_size)
        return rows // self.map_patch[0], columns // self.map_patch[1]

    def feature_size(self, height: int, width: int) -> Size:
        rest = (self.map_patch[0] - 1, self.map_patch[1] - 1) if self.pad else (0, 0)
        rows, columns = self.map_size(height, width)
        return (rows + rest[0]) // self.map_patch[0], (columns + rest[1]) // self.map_patch[1]

    def readable(self, x: Tensor) -> Tensor:
        """Image -> its map."""
        if not self.any_size:
            check_image_size(x, self.img_size)
        x = self.backbone(x)
        return pad_to_patches(x, self.map_patch) if self.pad else x
