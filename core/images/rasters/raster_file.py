"""The interface of every reader: an open file with a known header, which returns pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from PIL import Image, UnidentifiedImageError

from zoo.core.errors import InvalidInputError, ZooError
from zoo.core.images.inputs.image_input import Window
from zoo.core.images.rasters.georeference import shift
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster

FORMATS = "AVIF, BMP, DICOM, GIF, HEIC, JPEG, JPEG 2000, JPEG XL, NPY, NPZ, PGM, PNG, PPM, TIFF, WEBP"


class RasterFile(ABC):
    """An image file that is open for reading. Sizes are in pixels, of the upright image.

    A subclass sets the attributes from the file's header and implements `_decode`. `decided` has plain values for the
    manifest: which part of the file is read, and how it is turned, if that is unusual.
    """

    name = ""
    height: int
    width: int
    num_bands: int
    band_names: tuple[str, ...] = ()
    georeference: dict[str, Any] | None = None

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self.decided: dict[str, Any] = {}

    @abstractmethod
    def _decode(self, window: Window) -> Raster:
        """The pixels of a window, without `georeference` and `band_names`."""

    def read(self, window: Window | None = None) -> Raster:
        """Decode the image, or a window of it.

        Raises:
            InvalidInputError: the file is damaged, or the window is not within the image or has more pixels than
                `options.max_pixels`.
        """
        whole = Window(0, 0, self.width, self.height)
        window = window or whole
        with explain(self.name):
            _check(window, whole)
            self.options.check_size(window.width, window.height, self.num_bands)
            raster = self._decode(window)
        return replace(
            raster,
            band_names=self.band_names,
            georeference=shift(self.georeference, window),
            facts={**self.decided, **raster.facts},
        )

    def close(self) -> None:  # noqa: B027 - most readers hold nothing besides the file
        """Release what is held besides the file itself."""


class WholeRasterFile(RasterFile):
    """A file of a format that can only be decoded as a whole; the result is kept until the file is closed."""

    _whole: Raster | None = None

    @abstractmethod
    def _decode_whole(self) -> Raster:
        """The pixels of the image."""

    def _decode(self, window: Window) -> Raster:
        self._whole = self._whole or self._decode_whole()
        return self._whole.crop(window)

    def close(self) -> None:
        self._whole = None


def _check(window: Window, whole: Window) -> None:
    inside = window.left >= 0 and window.top >= 0 and window.width > 0 and window.height > 0
    if not inside or window.left + window.width > whole.width or window.top + window.height > whole.height:
        raise InvalidInputError(
            f"the window of {window.width}x{window.height} pixels at left {window.left}, top {window.top} is not "
            f"within the {whole.width}x{whole.height} pixels of the image."
        )


@contextmanager
def explain(name: str) -> Iterator[None]:
    """Turn any exception of a decoder into one sentence that begins with the file's name."""
    try:
        yield
    except InvalidInputError as error:
        if error.path == name:
            raise
        raise InvalidInputError(f"{name}: {error.message}", hint=error.hint, path=name) from error.__cause__
    except ZooError:
        raise
    except Exception as error:  # decoders raise almost anything on damaged bytes
        raise InvalidInputError(f"{name}: {_reason(error)}", path=name) from error


def unknown_format() -> InvalidInputError:
    return InvalidInputError(f"not an image in a known format ({FORMATS}).")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return unknown_format().message
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "more pixels than the limit."
    if isinstance(error, OSError) and error.strerror:
        return f"could not be read: {error.strerror}."
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it."
    return f"could not be decoded: {' '.join(str(error).split()).rstrip('.') or type(error).__name__}."
