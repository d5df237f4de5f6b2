"""Limit the memory for decoding: in bytes, since a pixel takes between one and about thirty of them.

A picture over SMALL_FILES needs a file of proportionate size. A photograph of 24 megapixels takes some megabytes; a
file of some kilobytes that claims the same size was made to fill the memory. Content besides the pixels, such as notes
or bytes after the end, does not count if the reader recognises it.
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
    """Like `ReadOptions.check_size`, for a file that cannot be read in parts: tiles would not help.

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
    """Refuse to decode if it takes too much memory; both limits grow with the limit on pixels.

    Args:
        file: the image file.
        needed: bytes that decoding takes at its peak.
        pixels: number of pixels.
        options: a `max_pixels` above its default allows more memory.
        coded_bytes: counts the file's bytes that belong to pixels, called only for large pictures; by default all
            count.

    Raises:
        InvalidInputError: decoding takes more than the limit.
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
