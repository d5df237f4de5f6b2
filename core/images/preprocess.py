"""Prepare an image for a model: resize, crop, scale to 0..1, normalise.

The result is bit for bit that of the evaluation transform used to measure the published timm checkpoints, by its
formulas:

- the resize target is `s = floor(size / crop_pct)` pixels per side, so that the crop keeps `crop_pct`;
- crop mode `center` resizes the shorter side to s and the other to `int(s * long / short)`, then crops (for a target
  that is not square, the image is scaled until it just covers the target);
- `squash` resizes both sides to s, ignoring the aspect ratio, then crops;
- `border` scales the image until it just fits into the target, `round(side / ratio)`, and pads with the mean colour;
- the crop begins at `round((side - size) / 2)`, rounding halves to even;
- 8-bit values are divided by 255 in float32, then `(x - mean) / std` is applied per channel.

Other numbers are resized band by band in float32, and divided by the largest number of their bit depth, or by `scale`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.core.architectures.records import IMAGENET_MEAN, IMAGENET_STD
from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters.options import MAX_PIXELS, NODATA
from zoo.core.images.rasters.raster import Raster

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
}
CROP_MODES = ("center", "squash", "border")
SCALE_OF_FILE = "file"


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The evaluation transform of one model.

    `size` is (height, width) in pixels. `mean` and `std` are per channel on a 0..1 scale; their length is the number of
    channels. `scale` is the number that becomes 1.0. None means the largest number of the file's bit depth, and 1.0 for
    floating point. SCALE_OF_FILE means that the scale and offset in the file are applied first, giving the 0..1 scale.
    Without `resize`, the image is neither resized nor cropped. Pixels without data get the mean, which is 0 after
    normalising, or zero, or raise an error, as `nodata` says. Raises InvalidInputError for invalid values.
    """

    size: tuple[int, int] = (224, 224)
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    crop_mode: str = "center"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    scale: float | str | None = None
    resize: bool = True
    nodata: str = "mean"

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise InvalidInputError(f"An input size is a positive height and width, not {self.size}.")
        if self.interpolation not in INTERPOLATIONS:
            raise InvalidInputError(f"Interpolation is one of {', '.join(INTERPOLATIONS)}, not {self.interpolation!r}.")
        if self.crop_mode not in CROP_MODES:
            raise InvalidInputError(f"Crop mode is one of {', '.join(CROP_MODES)}, not {self.crop_mode!r}.")
        if self.nodata not in NODATA:
            raise InvalidInputError(
                f"The choice for pixels without data is one of {', '.join(NODATA)}, not {self.nodata!r}."
            )
        if isinstance(self.scale, str) and self.scale != SCALE_OF_FILE:
            raise InvalidInputError(f"A scale is a positive number or {SCALE_OF_FILE!r}, not {self.scale!r}.")
        if isinstance(self.scale, int | float) and not 0 < self.scale < math.inf:
            raise InvalidInputError(f"A scale is a positive number, not {self.scale}.")
        if not 0 < self.crop_pct < math.inf:
            raise InvalidInputError(f"crop_pct is a positive fraction, not {self.crop_pct}.")
        if len(self.mean) != len(self.std) or not self.mean:
            raise InvalidInputError(
                f"mean and std are one value per channel, found {len(self.mean)} and {len(self.std)}."
            )
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)) or 0 in self.std:
            raise InvalidInputError(f"mean and std must be finite and std not 0, found {self.mean} and {self.std}.")

    @classmethod
    def from_cfg(
        cls,
        cfg: Mapping[str, Any],
        in_chans: int = 3,
        test: bool = False,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **options: Any,
    ) -> Preprocess:
        """The transform that a default config describes; missing values are timm's defaults.

        Args:
            cfg: a `PretrainedCfg` or a mapping with its keys.
            in_chans: number of channels that the model reads. With 1, three means and stds become their average; for
                any other number the config must have that many.
            test: prefer `test_input_size` and `test_crop_pct` if the config has them.
            mean: replaces the config's; one value is used for all channels.
            std: likewise.
            options: `scale`, `resize` and `nodata`, which a config does not state.

        Raises:
            InvalidInputError: mean and std have a different number of channels, or a value makes no sense.
        """
        try:
            input_size = (test and cfg.get("test_input_size")) or cfg.get("input_size") or (3, 224, 224)
            return cls(
                size=(int(input_size[-2]), int(input_size[-1])),
                interpolation=cfg.get("interpolation") or "bicubic",
                crop_pct=float((test and cfg.get("test_crop_pct")) or cfg.get("crop_pct") or 0.875),
                crop_mode=cfg.get("crop_mode") or "center",
                mean=_for_channels("mean", _each(mean, in_chans) or cfg.get("mean") or IMAGENET_MEAN, in_chans),
                std=_for_channels("std", _each(std, in_chans) or cfg.get("std") or IMAGENET_STD, in_chans),
                **options,
            )
        except InvalidInputError:
            raise
        except (TypeError, ValueError, IndexError) as error:  # a weight file may carry any JSON
            raise InvalidInputError(f"The config does not describe a model's input: {error}.") from error

    @property
    def in_chans(self) -> int:
        return len(self.mean)

    @property
    def min_size(self) -> int:
        """The least pixels per side of an image that only needs to be reduced; 0 if images are not resized."""
        return max(math.floor(side / self.crop_pct) for side in self.size) if self.resize else 0

    def array(self, image: Image.Image | Raster) -> NDArray[np.float32]:
        """Normalised float32 array (channels, height, width) of one image, in memory in the order of its pixels.

        8-bit images are resized in 8 bits, as in timm; all others in float32. Where resizing overshoots, integers are
        clipped to their range, unless `scale` shows that the range means nothing.

        Args:
            image: an 8-bit Pillow image of mode L or RGB, or a raster.

        Raises:
            InvalidInputError: the image has a different number of channels or is too elongated to resize; it has pixels
                without data and `nodata` is "error"; or its file declares no scale and the transform needs it.
        """
        raster, scale, bands = self._fitted(image)
        unit: NDArray[np.float32] = np.divide(bands, scale, dtype=np.float32)  # in memory as the pixels are
        if self.scale is None and bands.dtype != np.uint8 and not _is_float(raster):
            np.clip(unit, np.float32(0), np.float32(1), out=unit)  # resizing may overshoot
        self._normalise(unit)
        return unit

    def pixels(self, image: Image.Image | Raster) -> NDArray[Any]:
        """As `array`, resized and cropped but neither scaled nor normalised: 8-bit numbers, or float32."""
        return self._fitted(image)[2]

    def _fitted(self, image: Image.Image | Raster) -> tuple[Raster, np.float32, NDArray[Any]]:
        """The image as a raster, the number that becomes 1, and the bands resized and cropped."""
        raster = image if isinstance(image, Raster) else Raster(pixels=image, white=255.0)
        if raster.num_bands != self.in_chans:
            raise InvalidInputError(f"The image has {raster.num_bands} channel(s), the model reads {self.in_chans}.")
        if self.scale == SCALE_OF_FILE:
            raster = raster.rescaled()
        scale = np.float32(raster.white if self.scale is None or isinstance(self.scale, str) else self.scale)
        bands = self._resize_bands(self._planes(raster, scale), raster.size)
        return raster, scale, self._crop(bands, scale) if self.resize else bands

    def _normalise(self, unit: NDArray[np.float32]) -> None:
        """Normalise values (channels, height, width), where 1 is white, by the channels' mean and std."""
        rows = unit.transpose(1, 2, 0)
        if rows.flags.c_contiguous:  # numpy is fast along the last axis if that is long: whole rows, not channels
            rows = rows.reshape(len(rows), -1)
            rows -= np.tile(np.array(self.mean, np.float32), unit.shape[2])
            rows /= np.tile(np.array(self.std, np.float32), unit.shape[2])
        else:
            unit -= _column(self.mean)
            unit /= _column(self.std)

    def _planes(self, raster: Raster, scale: np.float32) -> NDArray[Any] | Image.Image:
        """The input of the resize: a Pillow image, or bands of 8-bit numbers or float32, without missing data."""
        if isinstance(raster.pixels, Image.Image):
            return raster.pixels
        missing = None if raster.valid is None else ~raster.valid
        if _is_float(raster) and not (finite := np.isfinite(raster.pixels)).all():
            missing = ~finite if missing is None else ~finite | missing
        if missing is None or not missing.any():
            in_8_bits = raster.pixels.dtype == np.uint8 and raster.white == 255
            return raster.pixels if in_8_bits else raster.pixels.astype(np.float32)
        if self.nodata == "error":
            share = np.broadcast_to(missing, raster.pixels.shape).mean()
            raise InvalidInputError(
                f"{share:.1%} of the image has no data.", hint="Fill it with --nodata mean or --nodata zero."
            )
        fill = scale * _column(self.mean) if self.nodata == "mean" else np.float32(0)
        filled: NDArray[Any] = np.where(missing, fill, raster.pixels.astype(np.float32))
        return filled

    def _resize_bands(self, planes: NDArray[Any] | Image.Image, size: tuple[int, int]) -> NDArray[Any]:
        """Resize to (channels, height, width), 8-bit or float32; `size` is the current (width, height)."""
        images = [planes] if isinstance(planes, Image.Image) else [Image.fromarray(plane) for plane in planes]
        if self.resize:
            target, resampling = self._resized(*size), INTERPOLATIONS[self.interpolation]
            images = [image.resize(target, resampling) for image in images]
        bands = [_bands_first(image) for image in images]
        return bands[0] if len(bands) == 1 else np.concatenate(bands)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """The width and height to resize an image of this size to."""
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

    def _crop(self, bands: NDArray[Any], scale: np.float32) -> NDArray[Any]:
        """Crop the centre of (channels, height, width), padding first if it is too small."""
        height, width = self.size
        missing_h, missing_w = max(height - bands.shape[1], 0), max(width - bands.shape[2], 0)
        if missing_h or missing_w:
            shape = (len(bands), bands.shape[1] + missing_h, bands.shape[2] + missing_w)
            padded = np.empty(shape, bands.dtype)
            padded[:] = self._fill(scale)
            top, left = missing_h // 2, missing_w // 2
            padded[:, top : top + bands.shape[1], left : left + bands.shape[2]] = bands
            bands = padded
        top, left = (round((n - size) / 2) for n, size in zip(bands.shape[1:], self.size, strict=True))
        return bands[:, top : top + height, left : left + width]

    def _fill(self, scale: np.float32) -> NDArray[np.float32]:
        """Padding colour (channels, 1, 1): the mean as an 8-bit value in border mode, otherwise black."""
        levels = [round(255 * m) if self.crop_mode == "border" else 0 for m in self.mean]
        return _column(levels) * (scale / np.float32(255))

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for a `config.json`."""
        return asdict(self)


def _for_channels(name: str, values: Sequence[float], in_chans: int) -> tuple[float, ...]:
    if len(values) == in_chans:
        return tuple(float(v) for v in values)
    if in_chans == 1:
        return (sum(values) / len(values),)
    raise InvalidInputError(
        f"The model reads {in_chans} channels, but its config has {name} for {len(values)}: "
        f"a photograph of {len(values)} channels does not fit.",
        hint=f"Give a config with {in_chans} values of mean and std, or a model with --in-chans 3 or 1.",
    )


def _each(values: Sequence[float] | None, in_chans: int) -> tuple[float, ...]:
    """The values given instead of a config's, one per channel."""
    return tuple(values or ()) * (in_chans if values is not None and len(values) == 1 else 1)


def _is_float(raster: Raster) -> bool:
    return not isinstance(raster.pixels, Image.Image) and raster.pixels.dtype.kind == "f"


def _bands_first(image: Image.Image) -> NDArray[Any]:
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _column(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None, None]
