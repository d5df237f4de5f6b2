"""Which bands of a raster a model reads, and that they are as many as it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.core.errors import InvalidInputError
from zoo.core.rasters.raster import Raster

LUMA = (0.299, 0.587, 0.114)
"""Grey from red, green and blue: ITU-R BT.601."""


def select_bands(raster: Raster, wanted: Sequence[str], in_chans: int) -> Raster:
    """The bands that a model of `in_chans` channels is to read.

    Without `wanted` they are all bands of the file; a picture becomes grey for a model of one channel, and RGB for a
    model of three.

    Args:
        raster: as read.
        wanted: numbers from 1, or names as the file has them (in any case); a band may be named twice.
        in_chans: channels that the model reads.

    Raises:
        InvalidInputError: there is no such band, or the bands are not as many as the model reads.
    """
    if wanted:
        raster = _take(raster, [_position(name, raster) for name in wanted])
    elif raster.picture and raster.num_bands != in_chans and {raster.num_bands, in_chans} == {1, 3}:
        raster = _as_grey(raster) if in_chans == 1 else _take(raster, [0, 0, 0])
    if raster.num_bands != in_chans:
        what = "were chosen with --bands" if wanted else "are in the image"
        raise InvalidInputError(
            f"The model reads {in_chans} channels, {raster.num_bands} bands {what}.",
            hint=f"Choose {in_chans} bands (--bands 1,2,...), or adapt the weights: zoo adapt-weights NAME "
            f"--in-chans {raster.num_bands}",
        )
    return raster


def _position(name: str, raster: Raster) -> int:
    text = name.strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        number = int(text)
        if not 1 <= number <= raster.num_bands:
            raise InvalidInputError(f"There is no band {number}: the image has {raster.num_bands}, counted from 1.")
        return number - 1
    names = [known.casefold() for known in raster.band_names]
    found = [i for i, known in enumerate(names) if known == text.casefold()]
    if not found:
        known = f"its bands are {', '.join(raster.band_names)}" if any(names) else "its bands have no names"
        raise InvalidInputError(
            f"There is no band {text!r}: {known}.", hint=f"Numbers count from 1 to {raster.num_bands}: --bands 1,2,..."
        )
    if len(found) > 1:
        numbers = ", ".join(str(i + 1) for i in found)
        raise InvalidInputError(f"{len(found)} bands are named {text!r}.", hint=f"Give a number: {numbers}.")
    return found[0]


def _take(raster: Raster, positions: list[int]) -> Raster:
    names = tuple(raster.band_names[i] for i in positions) if raster.band_names else ()
    if isinstance(raster.pixels, Image.Image):
        planes = raster.pixels.split()
        chosen = [planes[i] for i in positions]
        pixels: Image.Image | NDArray[Any]
        if len(chosen) in (1, 3):
            pixels = Image.merge("RGB", chosen) if len(chosen) == 3 else chosen[0]
        else:
            pixels = np.stack([np.asarray(plane) for plane in chosen])
        return replace(raster, pixels=pixels, band_names=names)
    valid = raster.valid[positions] if raster.valid is not None and raster.valid.ndim == 3 else raster.valid
    return replace(raster, pixels=raster.pixels[positions], valid=valid, band_names=names)


def _as_grey(raster: Raster) -> Raster:
    if isinstance(raster.pixels, Image.Image):
        return replace(raster, pixels=raster.pixels.convert("L"), band_names=())
    grey = np.tensordot(np.array(LUMA, np.float32), raster.pixels.astype(np.float32), 1)[None]
    valid = raster.valid
    if valid is not None and valid.ndim == 3:
        valid = np.logical_and.reduce(valid, axis=0)
    return replace(raster, pixels=grey, valid=valid, band_names=())
