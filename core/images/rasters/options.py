"""Options for reading images."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.core.errors import InvalidInputError, UsageError

MAX_PIXELS = 2**30 // 12
"""A larger image counts as a decompression bomb: 89 megapixels of three bands, where Pillow starts to warn."""

BYTES_PER_PIXEL = 4
"""Bytes of decoded pixels held at once, per pixel of `max_pixels`: 341 MiB by default."""

AXES = ("auto", "chw", "hwc")

PAGES = ("auto", "bands")

NODATA = ("mean", "zero", "error")
"""What replaces missing data in a raster; with "error" the raster cannot be read."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read images.

    Args:
        in_chans: number of channels that the model reads; None expects nothing. It determines the axes of arrays, and
            whether the alpha channel that a TIFF declares is a band.
        bands: bands to read, in this order: numbers from 1, or the file's band names. Empty: all.
        axes: order of an array of three axes, one of AXES.
        npz_key: the array of an .npz file; may be empty if there is only one.
        geo: require rasterio for TIFF, even without georeference.
        allow_vrt: read GDAL's virtual rasters, which are lists of other local files.
        frames: the frame of a DICOM file with several: a number from 1, or "all" as bands of one image. Empty: it must
            have one.
        min_size: allows decoding a JPEG at a fraction of its size, with sides of at least this many pixels: faster, but
            with different values. 0: always at full size.
        max_pixels: the most pixels of three bands that one read may return; fewer for more bands.
        pages: for a TIFF of several pages: a number from 1 selects a page; with "bands", all pages are bands of one
            image; with "auto", they are bands if the file calls them channels, or if it says nothing, unless they are
            three for a model of three channels.
        model_bands: the bands that the model reads, by name and in order, as its weights state them. A file that names
            the same bands in another order is refused.
    """

    in_chans: int | None = None
    bands: tuple[str, ...] = ()
    axes: str = "auto"
    npz_key: str = ""
    geo: bool = False
    allow_vrt: bool = False
    frames: str = ""
    min_size: int = 0
    max_pixels: int = MAX_PIXELS
    pages: str = "auto"
    model_bands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.axes not in AXES:
            raise UsageError(f"Axes are one of {', '.join(AXES)}, not {self.axes!r}.")
        if self.pages not in PAGES and not (
            self.pages.isascii() and self.pages.isdecimal() and len(self.pages) < 6 and int(self.pages) > 0
        ):
            raise UsageError(f"Pages are {', '.join(PAGES)} or a number from 1, not {self.pages!r}.")
        if self.frames not in ("", "all") and not (
            self.frames.isascii() and self.frames.isdecimal() and len(self.frames) < 10 and int(self.frames) > 0
        ):
            raise UsageError(f"Frames are 'all' or a number from 1, not {self.frames!r}.")
        if self.max_pixels < 1 or self.min_size < 0:
            raise UsageError("The limit on pixels is 1 or more, a smallest size 0 or more.")

    @property
    def expected_bands(self) -> int | None:
        """The number of bands that a file must have; None if any number will do."""
        return None if self.bands else self.in_chans

    @property
    def max_bytes(self) -> int:
        """The most bytes of decoded pixels that one read may hold at once, with the strip or tile being decoded."""
        return BYTES_PER_PIXEL * self.max_pixels

    def check_bytes(self, size: int) -> None:
        """Refuse to hold more than `max_bytes`. Raises InvalidInputError."""
        if size > self.max_bytes:
            raise InvalidInputError(
                f"{size >> 20} MiB of pixels at once, more than the limit of {self.max_bytes >> 20} MiB.",
                hint="Read it in tiles (--tile), or raise the limit (--max-pixels).",
            )

    def check_size(self, width: int, height: int, bands: int = 1) -> None:
        """Refuse to decode an image without pixels, or with more than the limit.

        Raises:
            InvalidInputError: in both cases.
        """
        if min(width, height, bands) < 1:
            raise InvalidInputError(f"{width}x{height} pixels of {bands} bands: there is no image.")
        if width * height * max(bands, 3) > 3 * self.max_pixels:
            of_bands = f" of {bands} bands" if bands > 3 else ""
            raise InvalidInputError(
                f"{width}x{height} pixels{of_bands}, more than the limit of {3 * self.max_pixels // max(bands, 3)}.",
                hint="Read it in tiles (--tile), or raise the limit (--max-pixels).",
            )
