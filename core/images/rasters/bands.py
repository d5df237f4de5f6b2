"""Select the bands of a raster that a model reads, and check their number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.core.channels.bands import ALIASES
from zoo.core.channels.sensors import simplify_band
from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters.raster import Raster

_EXPLAINED = re.compile(r"\s*(?:[,;:(\[]|\s-\s)")
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey: ITU-R BT.601."""


def select_bands(raster: Raster, wanted: Sequence[str], in_chans: int, model_bands: Sequence[str] = ()) -> Raster:
    """Select the bands for a model of `in_chans` channels.

    Without `wanted`, these are all bands of the file; a picture becomes grey for a model of one channel, and RGB for a
    model of three.

    Args:
        raster: as read.
        wanted: numbers from 1, or the file's band names in any case and spelling (B4 is B04); a band may be repeated.
        in_chans: number of channels that the model reads.
        model_bands: the names of these, in order, if its weights state them.

    Raises:
        InvalidInputError: there is no such band, the number of bands differs from `in_chans`, or the file names the
            model's bands in another order. Bands that are chosen by number may have any name.
    """
    if wanted:
        raster = _take(raster, [_position(name, raster) for name in wanted])
    elif raster.picture and raster.num_bands != in_chans and {raster.num_bands, in_chans} == {1, 3}:
        raster = _as_grey(raster) if in_chans == 1 else _take(raster, [0, 0, 0])
    if raster.num_bands != in_chans:
        raise _other_count(raster.num_bands, in_chans, "were chosen with --bands" if wanted else "are in the image")
    if model_bands and not any(name.strip().isdecimal() for name in wanted):
        _check_order(raster.band_names, model_bands)
    return raster


def _check_order(names: Sequence[str], model_bands: Sequence[str]) -> None:
    """Refuse the model's own bands in another order. Names that do not tell all of them say nothing."""
    own = [band.rpartition(":")[2] for band in model_bands]
    found = [_named(band, names) for band in own]
    places = [place for places in found for place in places]
    if len(places) == len(found) == len(names) == len(set(places)) and places != sorted(places):
        order = ",".join(own)
        raise InvalidInputError(
            f"The bands are {','.join(names)}, and the model reads them as {order}.",
            hint=f"Choose them in that order, --bands {order}, or by their numbers if the file names them wrong.",
        )


def check_count(num_bands: int, wanted: Sequence[str], in_chans: int) -> None:
    """Refuse an image before decoding if `select_bands` would refuse it whatever its content.

    Raises:
        InvalidInputError: all bands are read, and their number is not the model's.
    """
    if not wanted and num_bands != in_chans and {num_bands, in_chans} != {1, 3}:
        raise _other_count(num_bands, in_chans, "are in the image")


def _other_count(num_bands: int, in_chans: int, what: str) -> InvalidInputError:
    return InvalidInputError(
        f"The model reads {in_chans} channels, {num_bands} bands {what}.",
        hint=f"Choose {in_chans} bands (--bands 1,2,...), or adapt the weights: zoo adapt-weights NAME "
        f"--in-chans {num_bands}",
    )


def _position(name: str, raster: Raster) -> int:
    text = name.strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        number = int(text)
        if not 1 <= number <= raster.num_bands:
            raise InvalidInputError(f"There is no band {number}: the image has {raster.num_bands}, counted from 1.")
        return number - 1
    found = _named(text, raster.band_names)
    if not found:
        known = f"its bands are {', '.join(raster.band_names)}" if any(raster.band_names) else "its bands have no names"
        raise InvalidInputError(
            f"There is no band {text!r}: {known}.", hint=f"Numbers count from 1 to {raster.num_bands}: --bands 1,2,..."
        )
    if len(found) > 1:
        numbers = ", ".join(str(i + 1) for i in found)
        raise InvalidInputError(f"{len(found)} bands are named {text!r}.", hint=f"Give a number: {numbers}.")
    return found[0]


def _named(text: str, names: Sequence[str]) -> list[int]:
    """Positions of the bands with that name: as the file writes it, otherwise in a different spelling.

    'B4', 'B04' and 'Band 4' are the same name, and so are 'NIR' and 'near infrared'. Text after a comma or in brackets
    explains a name and is ignored. The wavelength of a number is not guessed.
    """
    for same in (str.casefold, _spelling, _first_word):
        wanted = same(text)
        found = [i for i, name in enumerate(names) if name and same(name) == wanted]
        if found:
            return found
    return []


def _spelling(name: str) -> str:
    simple = simplify_band(name)
    return ALIASES.get(simple, simple)


def _first_word(name: str) -> str:
    return _spelling(_EXPLAINED.split(name, maxsplit=1)[0])


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
    scales, offsets = (tuple(v[i] for i in positions) if v else () for v in (raster.scales, raster.offsets))
    return replace(
        raster, pixels=raster.pixels[positions], valid=valid, band_names=names, scales=scales, offsets=offsets
    )


def _as_grey(raster: Raster) -> Raster:
    if isinstance(raster.pixels, Image.Image):
        return replace(raster, pixels=raster.pixels.convert("L"), band_names=())
    if raster.pixels.dtype == np.uint8 and raster.white == 255:  # in 8 bits like Pillow, whichever library read it
        image = Image.fromarray(np.ascontiguousarray(raster.pixels.transpose(1, 2, 0)))
        grey: NDArray[Any] = np.asarray(image.convert("L"))[None]
    else:
        grey = np.tensordot(np.array(LUMA, np.float32), raster.pixels.astype(np.float32), 1)[None]
    valid = raster.valid
    if valid is not None and valid.ndim == 3:
        valid = np.logical_and.reduce(valid, axis=0)
    alike = len(set(raster.scales)) == len(set(raster.offsets)) == 1  # grey is a mean of the bands, in the same unit
    scales, offsets = (raster.scales[:1], raster.offsets[:1]) if alike else ((), ())
    return replace(raster, pixels=grey, valid=valid, band_names=(), scales=scales, offsets=offsets)
