"""What a model expects of its input image: resize, crop, scale to 0..1, normalise.

Bit for bit the evaluation transform under which the published timm checkpoints were measured, from its formulas:

- the target of the resize is `s = floor(size / crop_pct)` pixels on each side, so that the crop keeps `crop_pct`;
- crop mode `center` brings the shorter side to s and the other to `int(s * long / short)`, then crops (for a target
  that is not square: the image is scaled until it just covers the target);
- `squash` resizes both sides to s, whatever the aspect ratio, then crops;
- `border` scales the image until it just fits into the target, `round(side / ratio)`, and pads with the mean colour;
- the crop begins at `round((side - size) / 2)`, halves to even;
- 8-bit values are divided by 255 in float32, then `(x - mean) / std` per channel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from zoo.core.errors import InvalidInputError
from zoo.core.images import MAX_PIXELS, Pixels
from zoo.core.records import IMAGENET_MEAN, IMAGENET_STD

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
}
CROP_MODES = ("center", "squash", "border")


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The evaluation transform of one model.

    `size` is (height, width) in pixels; `mean` and `std` are per channel on a 0..1 scale, their length is the number of
    channels. Raises InvalidInputError where the values make no transform.
    """

    size: tuple[int, int] = (224, 224)
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    crop_mode: str = "center"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise InvalidInputError(f"An input size is a positive height and width, not {self.size}.")
        if self.interpolation not in INTERPOLATIONS:
            raise InvalidInputError(f"Interpolation is one of {', '.join(INTERPOLATIONS)}, not {self.interpolation!r}.")
        if self.crop_mode not in CROP_MODES:
            raise InvalidInputError(f"Crop mode is one of {', '.join(CROP_MODES)}, not {self.crop_mode!r}.")
        if not 0 < self.crop_pct < math.inf:
            raise InvalidInputError(f"crop_pct is a positive fraction, not {self.crop_pct}.")
        if len(self.mean) != len(self.std) or not self.mean:
            raise InvalidInputError(
                f"mean and std are one value per channel, found {len(self.mean)} and {len(self.std)}."
            )
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)) or 0 in self.std:
            raise InvalidInputError(f"mean and std must be finite and std not 0, found {self.mean} and {self.std}.")

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any], in_chans: int = 3, test: bool = False) -> Preprocess:
        """The transform that a default config describes; what it leaves out takes timm's defaults.

        Args:
            cfg: a `PretrainedCfg` or a mapping with its keys.
            in_chans: channels that the model reads. With 1, three means and stds become their average; for any other
                number the config must have that many.
            test: prefer `test_input_size` and `test_crop_pct` where the config has them.

        Raises:
            InvalidInputError: mean and std are for another number of channels, or a value makes no sense.
        """
        try:
            input_size = (test and cfg.get("test_input_size")) or cfg.get("input_size") or (3, 224, 224)
            return cls(
                size=(int(input_size[-2]), int(input_size[-1])),
                interpolation=cfg.get("interpolation") or "bicubic",
                crop_pct=float((test and cfg.get("test_crop_pct")) or cfg.get("crop_pct") or 0.875),
                crop_mode=cfg.get("crop_mode") or "center",
                mean=_for_channels("mean", cfg.get("mean") or IMAGENET_MEAN, in_chans),
                std=_for_channels("std", cfg.get("std") or IMAGENET_STD, in_chans),
            )
        except InvalidInputError:
            raise
        except (TypeError, ValueError, IndexError) as error:  # a weight file may carry any JSON
            raise InvalidInputError(f"The config does not describe an input: {error}.") from error

    @property
    def in_chans(self) -> int:
        return len(self.mean)

    def __call__(self, image: Pixels) -> torch.Tensor:
        """Normalised float32 tensor (channels, height, width) of one image.

        Args:
            image: an 8-bit Pillow image of mode L or RGB, or a float32 array (channels, height, width) in 0..1.

        Raises:
            InvalidInputError: the image has another number of channels, or is too elongated to be resized.
        """
        planes = [image] if isinstance(image, Image.Image) else [Image.fromarray(band) for band in image]
        found = sum(len(plane.getbands()) for plane in planes)
        if found != self.in_chans:
            raise InvalidInputError(f"The image has {found} channel(s), the model reads {self.in_chans}.")
        width, height = self._resized(*planes[0].size)
        resampling = INTERPOLATIONS[self.interpolation]
        bands = np.concatenate([_unit_scale(plane.resize((width, height), resampling)) for plane in planes])
        return (torch.from_numpy(self._crop(bands)) - _column(self.mean)) / _column(self.std)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height to resize an image of this size to."""
        target_h, target_w = (math.floor(side / self.crop_pct) for side in self.size)
        if self.crop_mode == "squash":
            size = (target_w, target_h)
        elif self.crop_mode == "center" and target_h == target_w:
            longer = int(target_h * max(width, height) / min(width, height))
            size = (target_h, longer) if width <= height else (longer, target_h)
        else:
            pick = max if self.crop_mode == "border" else min
            ratio = pick(height / target_h, width / target_w)
            size = (round(width / ratio), round(height / ratio))
        if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
            raise InvalidInputError(
                f"An image of {width}x{height} pixels would be resized to {size[0]}x{size[1]}: it is too elongated."
            )
        return size

    def _crop(self, bands: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cut the centre of (channels, height, width); where it is too small, pad first."""
        height, width = self.size
        missing_h, missing_w = max(height - bands.shape[1], 0), max(width - bands.shape[2], 0)
        if missing_h or missing_w:
            padded = np.empty((len(bands), bands.shape[1] + missing_h, bands.shape[2] + missing_w), np.float32)
            padded[:] = self._fill()
            top, left = missing_h // 2, missing_w // 2
            padded[:, top : top + bands.shape[1], left : left + bands.shape[2]] = bands
            bands = padded
        top, left = (round((n - size) / 2) for n, size in zip(bands.shape[1:], self.size, strict=True))
        return bands[:, top : top + height, left : left + width]

    def _fill(self) -> NDArray[np.float32]:
        """Padding colour (channels, 1, 1): the mean as an 8-bit value in border mode, else black."""
        levels = [round(255 * m) if self.crop_mode == "border" else 0 for m in self.mean]
        return (np.array(levels, np.float32) / np.float32(255))[:, None, None]

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for a `config.json`."""
        return asdict(self)


def _for_channels(name: str, values: Sequence[float], in_chans: int) -> tuple[float, ...]:
    if len(values) == in_chans:
        return tuple(float(v) for v in values)
    if in_chans == 1:
        return (sum(values) / len(values),)
    raise InvalidInputError(
        f"The model reads {in_chans} channels, its config has {name} for {len(values)}: "
        f"a photograph of {len(values)} channels does not fit.",
        hint=f"Give a config with {in_chans} values of mean and std, or a model with --in-chans 3 or 1.",
    )


def _unit_scale(image: Image.Image) -> NDArray[np.float32]:
    """Pillow image to float32 (channels, height, width) in 0..1."""
    values = np.asarray(image)
    if values.dtype == np.uint8:
        scaled = values.astype(np.float32) / np.float32(255)
    else:
        scaled = np.clip(values, np.float32(0), np.float32(1))  # bicubic and lanczos overshoot
    return scaled[None] if scaled.ndim == 2 else scaled.transpose(2, 0, 1)


def _column(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None]
