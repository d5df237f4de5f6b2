"""From an input to the numbers that a model reads. numpy and Pillow, no torch: it also runs in decoding processes."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from zoo.core.errors import InvalidInputError
from zoo.core.export.run import Prepared
from zoo.core.inputs.image_input import ImageInput
from zoo.core.preprocess import SCALE_OF_FILE, Preprocess
from zoo.core.rasters.bands import check_count, select_bands
from zoo.core.rasters.options import ReadOptions
from zoo.core.rasters.raster import Raster
from zoo.core.rasters.raster_file import RasterFile, explain
from zoo.core.rasters.read import open_raster, read_image

_open_files = threading.local()


@dataclass(frozen=True)
class Prepare:
    """Input -> what the model reads of it, and what the manifest is to say of it.

    Args:
        preprocess: the model's transform.
        reading: how images are read.
        size: (height, width) that an image must have, where `preprocess` does not give all the same.
    """

    preprocess: Preprocess
    reading: ReadOptions
    size: tuple[int, int] | None = None

    def __call__(self, item: ImageInput) -> Prepared:
        """Raises InvalidInputError or NotFoundError where it cannot be read, or does not fit the model."""
        raster = read_input(item, self.reading, self.preprocess.in_chans)
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
        return Prepared(image, facts)


def read_input(item: ImageInput, options: ReadOptions, in_chans: int) -> Raster:
    """Decode an input, or its window. The file of the last window stays open: the next one is mostly of the same."""
    if item.window is None:
        return read_image(item, in_chans, options)
    file = _file_of_window(item, options)
    with explain(item.source):
        check_count(file.num_bands, options.bands, in_chans)
    raster = file.read(item.window)
    with explain(item.source):
        return select_bands(raster, options.bands, in_chans)


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
    """Close what this thread keeps open for the next window."""
    stack = _open_files.__dict__.pop("stack", None)
    _open_files.__dict__.clear()
    if stack is not None:
        stack.close()


def raster_size(item: ImageInput, options: ReadOptions) -> tuple[int, int]:
    """Height and width of an input in pixels, of its window if it is one. Raises as `open_raster`."""
    if item.window is not None:
        return item.window.height, item.window.width
    with open_raster(item, options) as file:
        return file.height, file.width
