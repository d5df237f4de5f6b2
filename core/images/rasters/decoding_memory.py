"""How much memory decoding may take: in bytes, because a pixel takes between one and some thirty of them.

A picture over SMALL_FILES needs a file that is in proportion. A photograph of 24 megapixels is some megabytes large; a
file of some kilobytes that says the same of itself was made to fill the memory. What stands in a file beside its
pixels, notes or bytes behind the end, does not count where the reader knows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters.options import MAX_PIXELS, ReadOptions

SMALL_FILES = 384 << 20
LARGE_FILES = 1 << 30
_MOST_PER_BYTE = 256


def check_whole_size(width: int, height: int, bands: int, options: ReadOptions) -> None:
    """As `ReadOptions.check_size`, of a file that cannot be read in parts: tiles would not help.

    Raises:
        InvalidInputError: there are no pixels, or too many.
    """
    try:
        options.check_size(width, height, bands)
    except InvalidInputError as error:
        pixels = width * height * max(bands, 3) // 3
        hint = f"If you trust the file, raise the limit: --max-pixels {pixels}" if error.hint else ""
        raise InvalidInputError(error.message, hint=hint) from None


def check_memory(
    file: BinaryIO, needed: int, pixels: int, options: ReadOptions, coded_bytes: Callable[[], int] | None = None
) -> None:
    """Refuse what takes too much; both limits grow with the limit on pixels.

    Args:
        file: the image file.
        needed: bytes that decoding takes at its peak.
        pixels: how many there are.
        options: where `max_pixels` is above its default, more memory may be used.
        coded_bytes: counts the bytes that the pixels take in the file, asked only of large pictures; all by default.

    Raises:
        InvalidInputError: it takes more.
    """
    raised = max(1.0, options.max_pixels / MAX_PIXELS)
    if needed <= SMALL_FILES * raised:
        return
    size = coded_bytes() if coded_bytes else file.seek(0, 2)
    limit = min(LARGE_FILES, max(SMALL_FILES, size * _MOST_PER_BYTE)) * raised
    if needed > limit:
        asked = -(-needed * MAX_PIXELS // SMALL_FILES)
        raise InvalidInputError(
            f"{pixels} pixels, which would take {needed >> 20} MiB to decode from {size} bytes, "
            f"more than the limit of {int(limit) >> 20} MiB.",
            hint=f"If you trust the file, raise the limit: --max-pixels {asked}",
        )
