"""Turn an input into the array that a model reads. numpy and Pillow, no torch: decoding processes run it too."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from zoo.core.errors import InvalidInputError
from zoo.core.export.identity import sha256_of_input
from zoo.core.export.place import Place
from zoo.core.export.run import Prepared, SkippedImageError
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.preprocess import SCALE_OF_FILE, Preprocess
from zoo.core.images.rasters.bands import check_count, select_bands
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.raster_file import RasterFile, explain
from zoo.core.images.rasters.read import open_raster, read_image

_open_files = threading.local()


@dataclass(frozen=True)
class Prepare:
    """Input -> the array that the model reads, and the facts for the manifest.

    Args:
        preprocess: the model's transform.
        reading: how to read images.
        size: the required (height, width) of an image, if `preprocess` does not produce a fixed one.
        min_valid: the least share of valid pixels in an image, 0 to 1; other images are skipped.
        hashes: also return the sha256 of an input's bytes.
    """

    preprocess: Preprocess
    reading: ReadOptions
    size: tuple[int, int] | None = None
    min_valid: float = 0.0
    hashes: bool = False

    def __call__(self, item: ImageInput) -> Prepared:
        """Read an input and transform it.

        Raises InvalidInputError or NotFoundError if it cannot be read or does not fit the model, SkippedImageError if
        too few of its pixels are valid.
        """
        raster = read_input(item, self.reading, self.preprocess.in_chans)
        described = self._describe(item, raster)
        with explain(item.source):
            image = self.preprocess.array(raster)
            if self.size is not None and image.shape[1:] != self.size:
                found, wanted = (f"{width}x{height}" for height, width in (image.shape[1:], self.size))
                raise InvalidInputError(
                    f"{found} pixels, where the first image has {wanted}, and maps of one size are wanted.",
                    hint="Leave out --no-resize, cut tiles (--tile), or pool the maps (--pool avg).",
                )
        facts: dict[str, Any] = dict(raster.facts)
        if raster.scales:
            scaled = self.preprocess.scale == SCALE_OF_FILE
            facts |= {"scale": list(raster.scales), "offset": list(raster.offsets), "scaled": scaled}
        if raster.georeference:
            facts["georeference"] = raster.georeference
        if item.window is not None:
            facts["window"] = item.window._asdict()
        return Prepared(image, facts | described, Place.of(raster.georeference, raster.size))

    def _describe(self, item: ImageInput, raster: Raster) -> dict[str, Any]:
        """The facts about the pixels and the file. Raises SkippedImageError if too few pixels are valid."""
        facts: dict[str, Any] = {}
        share = raster_valid_share(raster)
        if share < 1:
            facts["valid"] = round(share, 6)
        if share < self.min_valid:
            window = {} if item.window is None else {"window": item.window._asdict()}
            raise SkippedImageError(f"{item.source}: {share:.1%} of it has data.", facts | window)
        if self.preprocess.scale is None and max(self.preprocess.std) <= 1:
            largest = _largest_float(raster)
            if largest > 1:
                facts["largest"] = largest
        if self.hashes:
            with explain(item.source):
                facts["sha256"] = sha256_of_input(item)
        return facts


def raster_valid_share(raster: Raster) -> float:
    """The share of valid values in a raster: not masked, not NaN, not infinite."""
    if isinstance(raster.pixels, Image.Image):
        return 1.0 if raster.valid is None else float(np.mean(raster.valid))
    valid = raster.valid
    if raster.pixels.dtype.kind == "f":
        finite = np.isfinite(raster.pixels)
        valid = finite if valid is None else finite & valid
    return 1.0 if valid is None else float(np.mean(valid))


def _largest_float(raster: Raster) -> float:
    """The largest finite value of a floating-point raster whose white is 1, otherwise 0."""
    pixels = raster.pixels
    if isinstance(pixels, Image.Image) or pixels.dtype.kind != "f" or raster.white != 1:
        return 0.0
    counts = np.isfinite(pixels) if raster.valid is None else np.isfinite(pixels) & raster.valid
    return float(np.max(pixels, where=counts, initial=0))


def read_input(item: ImageInput, options: ReadOptions, in_chans: int) -> Raster:
    """Decode an input, or its window. The last window's file stays open, since the next is usually in the same file."""
    if item.window is None:
        return read_image(item, in_chans, options)
    file = _file_of_window(item, options)
    with explain(item.source):
        check_count(file.num_bands, options.bands, in_chans)
    raster = file.read(item.window)
    with explain(item.source):
        return select_bands(raster, options.bands, in_chans, options.model_bands)


def _file_of_window(item: ImageInput, options: ReadOptions) -> RasterFile:
    key = (item._replace(id="", window=None), options)
    if getattr(_open_files, "key", None) != key:
        close_windowed_file()
        with ExitStack() as stack:
            _open_files.file = stack.enter_context(open_raster(item, options))
            _open_files.stack, _open_files.key = stack.pop_all(), key
    file: RasterFile = _open_files.file
    return file


def close_windowed_file() -> None:
    """Close the file that this thread keeps open for the next window."""
    stack = _open_files.__dict__.pop("stack", None)
    _open_files.__dict__.clear()
    if stack is not None:
        stack.close()


def raster_size(item: ImageInput, options: ReadOptions) -> tuple[int, int]:
    """Height and width in pixels of an input, or of its window. Raises as `open_raster`."""
    if item.window is not None:
        return item.window.height, item.window.width
    with open_raster(item, options) as file:
        return file.height, file.width


def has_place(item: ImageInput, options: ReadOptions) -> bool:
    """Whether an input is georeferenced, fully or partly. Raises as `open_raster`."""
    with open_raster(item, options) as file:
        return bool(file.georeference)
