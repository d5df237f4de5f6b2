"""The evaluation transform as a callable, by the arguments of the published API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.core.architectures.records import IMAGENET_MEAN, IMAGENET_STD
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.images.data_config import DEFAULT_CROP_MODE, DEFAULT_CROP_PCT
from zoo.core.images.preprocess import Preprocess
from zoo.core.images.rasters.raster import Raster

TRAINING_HINT = "torchvision.transforms.v2 has the training augmentations: RandomResizedCrop, RandAugment and more."


class ImageTransform:
    """Pillow image, or array of any number of bands -> normalised tensor (channels, height, width), float32.

    An array is (height, width), (height, width, bands) or, as rasterio gives it, (bands, height, width). A Pillow image
    gives bit for bit what timm's evaluation transform gives.
    """

    def __init__(self, preprocess: Preprocess, normalize: bool = True, border: int = 0) -> None:
        self.preprocess, self.normalize, self.border = preprocess, normalize, border

    def __call__(self, image: Any) -> Tensor:
        """Raises InvalidInputError for an image of another number of channels."""
        found = self._trimmed(self._readable(image))
        prepare = self.preprocess.array if self.normalize else self.preprocess.pixels
        return torch.from_numpy(np.ascontiguousarray(prepare(found)))

    def _readable(self, image: Any) -> Image.Image | Raster:
        if isinstance(image, Image.Image):
            if image.mode in ("L", "RGB"):
                return image
            if image.mode in ("F", "I", "I;16"):
                return self._raster(np.asarray(image))
            wanted = "L" if self.preprocess.in_chans == 1 else "RGB"
            raise InvalidInputError(
                f"A Pillow image of mode L, RGB, F, I or I;16 was expected, found {image.mode}.",
                hint=f"Convert it: image.convert({wanted!r}).",
            )
        return self._raster(image.numpy() if isinstance(image, Tensor) else np.asarray(image))

    def _raster(self, pixels: Any) -> Raster:
        bands = self.preprocess.in_chans
        if pixels.ndim == 2:
            pixels = pixels[None]
        elif pixels.ndim == 3 and pixels.shape[2] == bands:
            pixels = pixels.transpose(2, 0, 1)
        if pixels.ndim != 3 or pixels.shape[0] != bands:
            raise InvalidInputError(f"An array of {bands} band(s) was expected, found the shape {pixels.shape}.")
        if pixels.dtype.kind not in "uif":
            raise InvalidInputError(f"An array of numbers was expected, found {pixels.dtype}.")
        white = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "ui" else 1.0
        return Raster(pixels=np.ascontiguousarray(pixels), white=white)

    def _trimmed(self, image: Image.Image | Raster) -> Image.Image | Raster:
        if not self.border:
            return image
        edge = self.border
        width, height = image.size
        if min(width, height) <= 2 * edge:
            raise InvalidInputError(f"An image of {width}x{height} pixels has no more than a border of {edge}.")
        if isinstance(image, Image.Image):
            return image.crop((edge, edge, width - edge, height - edge))
        return self._raster(np.asarray(image.pixels)[:, edge:-edge, edge:-edge])

    def __repr__(self) -> str:
        return f"ImageTransform({self.preprocess}, normalize={self.normalize}, border={self.border})"


def create_transform(
    input_size: int | Sequence[int] = 224,
    is_training: bool = False,
    interpolation: str = "bilinear",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    crop_pct: float | None = None,
    crop_mode: str | None = None,
    crop_border_pixels: int | None = None,
    use_prefetcher: bool = False,
    normalize: bool = True,
    scale: float | str | None = None,
    **training: Any,
) -> ImageTransform:
    """The evaluation transform of a data config: `create_transform(**resolve_model_data_config(model))`.

    Args:
        input_size: side in pixels, (height, width) or (channels, height, width).
        is_training: must be False: zoo does not train.
        interpolation: nearest, bilinear, bicubic, box, hamming or lanczos.
        mean, std: per channel, on a scale of 0 to 1.
        crop_pct: share of the resized image's side that is kept; 0.875 by default.
        crop_mode: center, squash or border.
        crop_border_pixels: pixels to cut off each edge first.
        use_prefetcher: give numbers as they are in the image, neither scaled nor normalised.
        normalize: False does the same.
        scale: the number that becomes 1; by default the largest of the array's type, and 1 for floating point.
        training: arguments of the training transform, which evaluation ignores as published code expects.

    Raises:
        UsageError: the training transform is asked for.
        InvalidInputError: a value makes no sense.
    """
    if is_training:
        raise UsageError("zoo has no training transforms: create_transform(is_training=False).", hint=TRAINING_HINT)
    if unknown := training.keys() - _IGNORED:
        raise TypeError(f"create_transform has no argument {sorted(unknown)[0]!r}.")
    if scale is not None and isinstance(scale, list | tuple):  # the training crop's range of areas
        scale = None
    size = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)[-2:]
    preprocess = Preprocess(
        size=(int(size[0]), int(size[1])),
        interpolation=interpolation,
        crop_pct=crop_pct or DEFAULT_CROP_PCT,
        crop_mode=crop_mode or DEFAULT_CROP_MODE,
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        scale=scale,
    )
    return ImageTransform(preprocess, normalize and not use_prefetcher, crop_border_pixels or 0)


_IGNORED = {
    "no_aug", "train_crop_mode", "ratio", "hflip", "vflip", "color_jitter", "color_jitter_prob", "grayscale_prob",
    "gaussian_blur_prob", "auto_augment", "re_prob", "re_mode", "re_count", "re_num_splits", "separate",
}  # fmt: skip
"""What only the published training transform reads."""
