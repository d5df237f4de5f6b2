"""Find out how the pages of a TIFF relate: as channels, slices or time points, or unstated.

Bioformats (OME-XML), ImageJ and tifffile state it in the description of the first page.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters import tiff_header
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.tiff_header import TiffHeader, TiffPage

_CHANNELS = "CS"
_MEANINGS = {"Z": "slices in depth", "T": "moments", "I": "pictures", "R": "repetitions", "P": "positions"}
_ADVICE = "Choose one page: --pages 1; or take all pages for bands: --pages bands"
_PIXELS = re.compile(r"<(?:\w{1,20}:)?Pixels\b([^>]{0,4000})>")
_SIZE = re.compile(r"\bSize([CZT])\s*=\s*[\"']([0-9]{1,9})[\"']")
_IMAGEJ_AXES = {"T": "frames", "Z": "slices", "C": "channels"}
_IMAGEJ = re.compile(r"^(images|channels|slices|frames)=([0-9]{1,9})\s*$", re.MULTILINE)

_OWN = (tiff_header.STRIP_OFFSETS, tiff_header.STRIP_BYTES, tiff_header.TILE_OFFSETS, tiff_header.TILE_BYTES,
        tiff_header.TILE_WIDTH, tiff_header.TILE_HEIGHT, tiff_header.EXTRA_SAMPLES, tiff_header.JPEG_TABLES,
        tiff_header.PREDICTOR, tiff_header.SAMPLE_FORMAT, tiff_header.COLOUR_MAP, tiff_header.PLANAR,
        tiff_header.ROWS_PER_STRIP, tiff_header.BITS, tiff_header.SAMPLES)  # fmt: skip
"""Tags that only concern the pixels of their own page."""


class Stack(NamedTuple):
    """The size of each axis longer than one; None if the file does not state it."""

    axes: dict[str, int] | None
    planes: int
    """Number of consecutive planes of one sample, if the file states it; otherwise 1."""

    @property
    def are_channels(self) -> bool:
        return self.axes is not None and all(axis in _CHANNELS for axis in self.axes)

    def __str__(self) -> str:
        return " by ".join(
            f"{count} {_MEANINGS.get(axis, f'along {axis}') if axis not in _CHANNELS else 'channels'}"
            for axis, count in (self.axes or {}).items()
        )


def read_stack(description: str, width: int, height: int) -> Stack:
    """Read what a description states about the planes of a file."""
    if description.startswith("ImageJ="):
        counts = {name: int(count) for name, count in _IMAGEJ.findall(description)}
        axes = {axis: n for axis, key in _IMAGEJ_AXES.items() if (n := counts.get(key, 1)) > 1}
        return Stack(axes or None, counts.get("images", 1))
    if "<" in description and "OME" in description and (pixels := _PIXELS.search(description)):
        sizes = {axis: int(count) for axis, count in _SIZE.findall(pixels[1])}
        return Stack({axis: n for axis in "TZC" if (n := sizes.get(axis, 1)) > 1} or None, 1)
    if description.startswith("{"):
        return _of_tifffile(description, width, height)
    return Stack(None, 1)


def _of_tifffile(description: str, width: int, height: int) -> Stack:
    try:
        facts = json.loads(description)
        shape = [int(n) for n in facts["shape"]]
        axes = str(facts.get("axes") or "")
    except (ValueError, KeyError, TypeError, RecursionError):
        return Stack(None, 1)
    planes = 1
    if facts.get("truncated") is True and len(shape) == 3 and shape[1:] == [height, width] and shape[0] > 0:
        planes = shape[0]
    if len(axes) != len(shape):
        return Stack(None, planes)
    return Stack({a: n for a, n in zip(axes, shape, strict=True) if a not in "YX" and n > 1} or None, planes)


def planes_of(header: TiffHeader, options: ReadOptions) -> TiffHeader:
    """The header of the pages to read: one picture, or one page per band.

    Raises:
        InvalidInputError: several pages are not bands, or nothing shows whether they are; `options.pages` chooses.
    """
    first = header.first
    stack = read_stack(first.text(tiff_header.DESCRIPTION), header.width, header.height)
    pages = header.pages
    chosen = options.pages
    if len(pages) == 1 and stack.planes > 1 and chosen != "1":
        pages = _behind_one_another(header, stack.planes)
    if chosen not in ("auto", "bands"):
        number = int(chosen)
        if number > len(pages):
            raise InvalidInputError(f"There is no page {number}: the file has {len(pages)}, counted from 1.")
        page = pages[number - 1]
        if number > 1:  # the place and nodata are in the first page
            shared = {k: v for k, v in first.tags.items() if k not in page.tags and k not in _OWN}
            page = TiffPage({**shared, **page.tags})
        stored = len(pages) if len(pages) > 1 else stack.planes
        return header._replace(pages=(page,), page=number, stored_pages=stored)
    if len(pages) > 1 and any(page.samples != 1 for page in pages):
        raise InvalidInputError(
            f"{len(pages)} frames or pages of {max(page.samples for page in pages)} samples, where one picture was "
            "expected.",
            hint="Choose one page: --pages 1",
        )
    if len(pages) > 1 and chosen == "auto":
        _check_bands(stack, len(pages), options)
    return header._replace(pages=pages, stored_pages=len(pages))


def _check_bands(stack: Stack, count: int, options: ReadOptions) -> None:
    if stack.axes and not stack.are_channels:
        raise InvalidInputError(f"{count} pages that are {stack}, not bands.", hint=_ADVICE)
    unsaid = stack.axes is None and not options.bands
    if unsaid and count == options.in_chans == 3:
        raise InvalidInputError(
            "3 grey pages: the file does not say whether they are red, green and blue, or pages of a scan.",
            hint=_ADVICE,
        )


def _behind_one_another(header: TiffHeader, planes: int) -> tuple[TiffPage, ...]:
    """Pages for planes without their own directory, whose pixels follow those of the first."""
    first = header.first
    if first.compression != 1 or first.is_tiled or first.samples != 1 or planes > tiff_header.MAX_PAGES:
        raise InvalidInputError(
            f"{planes} planes behind one directory, and only the first can be found.", hint="Choose it: --pages 1"
        )
    size = first.height * ((first.width * first.bits + 7) // 8)
    return tuple(TiffPage({**first.tags, tiff_header.PLANE: (number * size,)}) for number in range(planes))
