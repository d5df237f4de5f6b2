"""Images cut into patches, each mapped linearly to an embedding.

Dosovitskiy et al., An Image is Worth 16x16 Words (arXiv:2010.11929), section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.core.resize.positions import resize_patch_kernel
from zoo.core.resize.resample import Filter
from zoo.models.layers.norm import NormFactory
from zoo.models.layers.tracing import leaf_procedure

Size = tuple[int, int]

LAYOUTS = ("NLC", "NHWC", "NCHW")

PATCH_FILTERS: dict[tuple[str, bool], Filter] = {
    ("bicubic", True): "bicubic, antialiased",
    ("bicubic", False): "bicubic",
    ("bilinear", False): "linear",
}


def as_pair(size: int | Size) -> Size:
    """(height, width) of a size that is given as such or as the side of a square."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


@leaf_procedure
def check_image_size(images: Tensor, size: Size) -> None:
    """Raises UsageError for images (N, C, H, W) of another (height, width)."""
    height, width = images.shape[2:]
    if (height, width) != size:
        raise UsageError(
            f"The model takes images of {size[0]} x {size[1]}, found {height} x {width}.",
            hint="Build it with img_size, or with dynamic_img_size=True where it has that option.",
        )


@leaf_procedure
def check_image_divides(images: Tensor, patch: Size) -> None:
    """Raises UsageError for images (N, C, H, W) whose patches of this (height, width) leave a rest."""
    height, width = images.shape[2:]
    if height % patch[0] or width % patch[1]:
        raise UsageError(
            f"The sides of an image must be multiples of {patch[0]} and {patch[1]}, found {height} x {width}.",
            hint="dynamic_img_pad=True fills up the last patches.",
        )


def pad_to_patches(x: Tensor, patch: Size) -> Tensor:
    """Fill up the last patches of (N, C, H, W) with zeros, at the bottom and on the right."""
    return F.pad(x, (0, -x.shape[3] % patch[1], 0, -x.shape[2] % patch[0]))


class PatchEmbed(nn.Module):
    """Image (N, C, H, W) -> embeddings of its patches: a convolution `proj` whose stride is its kernel, then `norm`.

    Args:
        img_size: (height, width) of the images, or the side; what does not fill a patch at the end is not read.
        patch_size: of a patch, likewise.
        in_chans: channels of the image.
        embed_dim: channels of an embedding.
        bias: of the convolution.
        norm: makes the norm over the channels, which come last: not for the layout NCHW.
        layout: of the output: NLC is (N, patches, D) in the order of rows, NHWC and NCHW are maps.
        any_size: take images of any size that is a multiple of the patch.
        pad: fill up the last patches of an image with zeros, so that any size will do.

    Forward raises UsageError for images of another size.
    """

    def __init__(
        self,
        img_size: int | Size,
        patch_size: int | Size,
        in_chans: int = 3,
        embed_dim: int = 768,
        *,
        bias: bool = True,
        norm: NormFactory | None = None,
        layout: str = "NLC",
        any_size: bool = False,
        pad: bool = False,
    ) -> None:
        super().__init__()
        if layout not in LAYOUTS:
            raise UsageError(f"The layout must be one of {', '.join(LAYOUTS)}, found {layout!r}.")
        self.img_size, self.patch_size = as_pair(img_size), as_pair(patch_size)
        self.layout, self.any_size, self.pad = layout, any_size, pad
        if min(self.patch_size) < 1 or min(self.grid_size) < 1:
            raise UsageError(f"Images of {img_size} hold no patch of {patch_size}.")
        self.proj = nn.Conv2d(in_chans, embed_dim, self.patch_size, self.patch_size, bias=bias)
        self.norm = norm(embed_dim) if norm else nn.Identity()

    @property
    def grid_size(self) -> Size:
        """Patches (down, across) of an image of `img_size`."""
        return self.img_size[0] // self.patch_size[0], self.img_size[1] // self.patch_size[1]

    @property
    def num_patches(self) -> int:
        return self.grid_size[0] * self.grid_size[1]

    def feature_size(self, height: int, width: int) -> Size:
        """Patches (down, across) of an image of this size."""
        patch_height, patch_width = self.patch_size
        if self.pad:
            return ceil(height / patch_height), ceil(width / patch_width)
        return height // patch_height, width // patch_width

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(self.readable(x))
        if self.layout == "NLC":
            x = x.flatten(2).transpose(1, 2)
        elif self.layout == "NHWC":
            x = x.permute(0, 2, 3, 1)
        return self.norm(x)

    def readable(self, x: Tensor) -> Tensor:
        """Image -> what `proj` reads; raises UsageError for an image of a wrong size."""
        if not self.any_size:
            check_image_size(x, self.img_size)
        elif not self.pad:
            check_image_divides(x, self.patch_size)
        return pad_to_patches(x, self.patch_size) if self.pad else x


def resample_patch_embed(
    patch_embed: Tensor, new_size: Sequence[int], interpolation: str = "bicubic", antialias: bool = True
) -> Tensor:
    """The kernel (D, C, p, q) of a patch embedding for patches of another height and width, by pseudo-inverse.

    Beyer et al., FlexiViT (arXiv:2212.08013), section 3.4. `interpolation` is bicubic, or bilinear without
    antialiasing.
    """
    new = (new_size[0], new_size[1])
    if tuple(patch_embed.shape[2:]) == new:
        return patch_embed
    if (interpolation, antialias) not in PATCH_FILTERS:
        raise UsageError(f"Patches are resized bicubic, or bilinear without antialiasing, not {interpolation}.")
    filter_ = PATCH_FILTERS[interpolation, antialias]
    resized = resize_patch_kernel(patch_embed.detach().float().cpu().numpy(), new, filter_)
    return torch.from_numpy(resized).to(patch_embed)
