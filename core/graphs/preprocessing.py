"""The evaluation transform as tensor operations, so that a graph can hold it.

Resizing is a product with one matrix for each axis, whose rows hold the weights of the pixels around a new pixel. That
is the resampling of Pillow: a kernel as wide as the pixels that become one, cut off at the border, with weights that
sum to 1, first along rows and then along columns, rounded to 8 bits after each
(https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.core.images.preprocess import Preprocess

_WHITE = 255.0
_LANCZOS_SUPPORT = 3.0


class Kernel(NamedTuple):
    """A resampling kernel: its weight at a distance in pixels, and the distance from which on it is zero."""

    weight: Callable[[Tensor], Tensor]
    support: float


def _bilinear(x: Tensor) -> Tensor:
    return torch.relu(1 - x.abs())


def _bicubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -0.5 (doi:10.1109/TASSP.1981.1163711)."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _lanczos(x: Tensor) -> Tensor:
    window = _sinc(x) * _sinc(x / _LANCZOS_SUPPORT)
    return torch.where(x.abs() < _LANCZOS_SUPPORT, window, torch.zeros_like(x))


def _sinc(x: Tensor) -> Tensor:
    angle = math.pi * torch.where(x == 0, torch.ones_like(x), x)
    return torch.where(x == 0, torch.ones_like(x), torch.sin(angle) / angle)


KERNELS = {
    "bilinear": Kernel(_bilinear, 1.0),
    "bicubic": Kernel(_bicubic, 2.0),
    "lanczos": Kernel(_lanczos, _LANCZOS_SUPPORT),
}


class Normalize:
    """Images (N, C, H, W) with values from 0 to 1 -> the same, with the mean subtracted, divided by the deviation."""

    def __init__(self, preprocess: Preprocess) -> None:
        self.mean, self.std = preprocess.mean, preprocess.std

    def __call__(self, image: Tensor) -> Tensor:
        mean, std = (torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1) for values in (self.mean, self.std))
        return (image - mean) / std


class ResizeCropNormalize:
    """8-bit images (N, C, any height, any width) -> float32 (N, C, height, width) as the model reads them.

    Raises UsageError for a transform that a graph cannot hold.
    """

    def __init__(self, preprocess: Preprocess) -> None:
        if preprocess.interpolation not in KERNELS:
            raise UsageError(
                f"A graph resizes with {', '.join(KERNELS)}, and these weights are for {preprocess.interpolation}.",
                hint="Choose --preprocess normalize, and resize images before.",
            )
        if preprocess.crop_mode == "border" or preprocess.crop_pct > 1:
            raise UsageError(
                "These weights are for images with a border around them, which a graph does not draw.",
                hint="Choose --preprocess normalize, and resize images before.",
            )
        self.preprocess = preprocess
        self.kernel = KERNELS[preprocess.interpolation]
        self.normalize = Normalize(preprocess)

    def __call__(self, image: Tensor) -> Tensor:
        sides = image.shape[2:]
        resized = self._resized(*(torch.scalar_tensor(side, dtype=torch.float64) for side in sides))
        rows, columns = map(self._weights, sides, resized, self.preprocess.size)
        pixels = _to_8_bits(image.to(torch.float32) @ columns.T)
        pixels = _to_8_bits(rows @ pixels)
        return self.normalize(pixels / _WHITE)

    def _resized(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Height and width that images are resized to, as `Preprocess` has them."""
        target_h, target_w = (math.floor(side / self.preprocess.crop_pct) for side in self.preprocess.size)
        if self.preprocess.crop_mode == "squash":
            return height.new_tensor(target_h), width.new_tensor(target_w)
        if target_h == target_w:
            shorter = torch.minimum(height, width)
            return torch.floor(target_h * height / shorter), torch.floor(target_w * width / shorter)
        ratio = torch.minimum(height / target_h, width / target_w)
        return torch.round(height / ratio), torch.round(width / ratio)

    def _weights(self, before: int, after: Tensor, crop: int) -> Tensor:
        """The weights (new pixels, old pixels) that resize an axis from one length to another, then crop its centre."""
        scale = before / after
        width = torch.maximum(scale, torch.ones_like(scale))
        first = torch.round((after - crop) / 2)
        centres = (torch.arange(crop, dtype=torch.float64) + first + 0.5) * scale
        pixels = torch.arange(before, dtype=torch.float64) + 0.5
        weights = self.kernel.weight((pixels[None, :] - centres[:, None]) / width)
        return (weights / weights.sum(1, keepdim=True)).to(torch.float32)


def _to_8_bits(pixels: Tensor) -> Tensor:
    return torch.floor(pixels + 0.5).clamp(0.0, _WHITE)
