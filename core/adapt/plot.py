"""A plot of an input layer's filters before and after adapting. Pillow and numpy are imported when needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.atomic_output import atomic_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

MAX_FILTERS = 32
MAX_BANDS = 128
"""The most columns and rows drawn; the titles give the full counts."""

MAX_KERNEL = 64
"""Twice the largest patch in use: a plot of larger kernels would fill the memory and show nothing."""

LEFT = 160
TITLE_HEIGHT = 22
GAP = 2
MIN_WIDTH = 560
FILTER_PIXELS = 28
"""Layout in pixels: names on the left, a title above each block, lines between filters, a filter's approximate side."""

BACKGROUND = (200, 200, 200)
INK = (0, 0, 0)
NOT_FINITE = (204, 0, 153)
ZERO, LIGHTEST, DARKEST = (124, 123, 120), (255, 234, 70), (0, 32, 77)
"""The middle and the ends of cividis (Nunez et al. 2018, DOI 10.1371/journal.pone.0199239).

Its lightness only grows, so the signs can be told apart in black and white, and by people who do not see all colours.
"""

_NAME_LENGTH = 24


def plot_stem(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    path: str | os.PathLike[str],
    *,
    before_bands: Sequence[str],
    after_bands: Sequence[str],
    force: bool = False,
) -> None:
    """Write a PNG of two weights of shape (filters, bands, height, width): one row per band, one column per filter.

    Grey is zero, light positive, dark negative, on one scale for both weights; NaN and infinity are magenta. The same
    input gives the same bytes (with the same Pillow). The first MAX_FILTERS filters and MAX_BANDS bands are drawn.

    Raises:
        InvalidInputError: a weight without four axes, an empty one, a kernel larger than MAX_KERNEL.
        UsageError: the number of names differs from the number of bands.
        CannotWriteError: as `atomic_output`, including an existing file with different content without `force`.
    """
    import io

    blocks = (("before", before, before_bands), ("after", after, after_bands))
    for title, weight, bands in blocks:
        _check(title, weight, bands)
    scale = _scale([_shown(weight) for _, weight, _ in blocks])
    image = _stack([_draw_block(title, weight, bands, scale) for title, weight, bands in blocks])
    encoded = io.BytesIO()
    image.save(encoded, format="PNG")
    with atomic_output(path, force=force) as output:
        output.write(encoded.getbuffer())


def pixels_per_value(weight: NDArray[np.float32]) -> int:
    """Side of the square that shows one number: small kernels are enlarged to about FILTER_PIXELS."""
    longest: int = max(weight.shape[2:])
    return max(1, round(FILTER_PIXELS / longest))


def _check(title: str, weight: NDArray[np.float32], bands: Sequence[str]) -> None:
    if weight.ndim != 4 or not weight.size:
        raise InvalidInputError(
            f"The plot needs a weight with the axes (filters, bands, height, width), found the shape {weight.shape}."
        )
    if max(weight.shape[2:]) > MAX_KERNEL:
        raise InvalidInputError(
            f"The plot shows kernels of at most {MAX_KERNEL} pixels a side, found the shape {weight.shape}."
        )
    if len(bands) != weight.shape[1]:
        raise UsageError(f"The weight {title} has {weight.shape[1]} bands, found {len(bands)} names for them.")


def _shown(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    import numpy as np

    return weight[:MAX_FILTERS, :MAX_BANDS].astype(np.float64)


def _scale(weights: Sequence[NDArray[np.float64]]) -> float:
    """The largest finite magnitude, drawn in full colour."""
    import numpy as np

    return max(float(np.abs(w, where=np.isfinite(w), out=np.zeros_like(w)).max()) for w in weights)


def _colours(values: NDArray[np.float64], scale: float) -> NDArray[np.uint8]:
    """Values from -scale to scale as DARKEST to ZERO to LIGHTEST; adds a last axis of 3."""
    import numpy as np

    finite = np.isfinite(values)
    strength = (np.where(finite, values, 0) / (scale or 1))[..., None]
    ends = np.where(strength < 0, np.array(DARKEST), np.array(LIGHTEST))
    colours = np.rint(ZERO + np.abs(strength) * (ends - ZERO))
    colours[~finite] = NOT_FINITE
    return colours.astype(np.uint8)


def _tiles(weight: NDArray[np.float64], scale: float, side: int) -> NDArray[np.uint8]:
    """The filters as one array (rows, columns, 3), each surrounded by lines of the background colour."""
    import numpy as np

    filters, bands, height, width = weight.shape
    enlarged = _colours(weight, scale).repeat(side, axis=2).repeat(side, axis=3)
    tiles = np.empty((bands, height * side + GAP, filters, width * side + GAP, 3), np.uint8)
    tiles[:] = BACKGROUND
    tiles[:, GAP:, :, GAP:] = enlarged.transpose(1, 2, 0, 3, 4)
    return tiles.reshape(bands * tiles.shape[1], filters * tiles.shape[3], 3)


def _draw_block(title: str, weight: NDArray[np.float32], bands: Sequence[str], scale: float) -> Image.Image:
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    shown, side = _shown(weight), pixels_per_value(weight)
    tiles = Image.fromarray(_tiles(shown, scale, side))
    image = Image.new("RGB", (max(MIN_WIDTH, LEFT + tiles.width + GAP), TITLE_HEIGHT + tiles.height + GAP), BACKGROUND)
    image.paste(tiles, (LEFT, TITLE_HEIGHT))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default()
    kernel = "{} x {}".format(*weight.shape[2:])
    text = f"{title}: {_count(weight, shown)} of {kernel}, dark -{scale:.3g}, light +{scale:.3g}"
    if not np.isfinite(shown).all():
        text += ", magenta is not finite"
    draw.text((GAP * 2, TITLE_HEIGHT // 2), text, fill=INK, font=font, anchor="lm")
    row = shown.shape[2] * side + GAP
    for index, name in enumerate(bands[:MAX_BANDS]):
        middle = TITLE_HEIGHT + index * row + (row + GAP) // 2
        draw.text((LEFT - GAP * 2, middle), _printable(name), fill=INK, font=font, anchor="rm")
    return image


def _count(weight: NDArray[np.float32], shown: NDArray[np.float64]) -> str:
    def part(drawn: int, there_are: int) -> str:
        return f"{there_are}" if drawn == there_are else f"first {drawn} of {there_are}"

    return f"{part(shown.shape[1], weight.shape[1])} bands, {part(shown.shape[0], weight.shape[0])} filters"


def _printable(name: str) -> str:
    """The name in characters that any font has, cut to fit."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in name)
    return plain if len(plain) <= _NAME_LENGTH else plain[: _NAME_LENGTH - 2] + ".."


def _stack(blocks: Sequence[Image.Image]) -> Image.Image:
    from PIL import Image

    size = (max(block.width for block in blocks), sum(block.height for block in blocks))
    image, top = Image.new("RGB", size, BACKGROUND), 0
    for block in blocks:
        image.paste(block, (0, top))
        top += block.height
    return image
