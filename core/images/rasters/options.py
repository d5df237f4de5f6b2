"""How images are read."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.core.errors import InvalidInputError, UsageError

MAX_PIXELS = 2**30 // 12
"""Above it an image counts as a decompression bomb: 89 megapixels of three bands, where Pillow begins to warn."""

BYTES_PER_PIXEL = 4
"""Bytes of decoded pixels at a time, for each pixel of `max_pixels`: 341 MiB where that is not changed."""

AXES = ("auto", "chw", "hwc")

PAGES = ("auto", "bands")

NODATA = ("mean", "zero", "error")
"""What stands where a raster has no data; with "error" it cannot be read."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How images are read.

    Args:
        in_chans: channels that the model reads; None where nothing is expected. It tells the axes of arrays, and
            whether the alpha channel that a TIFF declares is a band.
        bands: bands to take, in this order: numbers from 1, or names that the file gives them. Empty: all.
        axes: order of an array of three axes, one of AXES.
        npz_key: which array of an .npz file; may be empty where it has only one.
        geo: read TIFF through rasterio even without georeference, and do not do without it.
        allow_vrt: read GDAL's virtual rasters, which are lists of other local files.
        frames: of a DICOM file of several: a number from 1, or "all" as bands of one image. Empty: it must have one.
        min_size: with it, a JPEG may be decoded at a fraction of its size whose sides are not below this many pixels:
            faster, and not the same numbers. 0: always in full.
        max_pixels: most pixels of three bands that one read may give; fewer for more bands.
        pages: of a TIFF of several pages: a number from 1 is that page; "bands": all are bands of one image; "auto":
            they are where the file calls them channels, or says nothing and they are not three for a model of three.
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
        """How many bands a file must have; None where any number will do."""
        return None if self.bands else self.in_chans

    @property
    def max_bytes(self) -> int:
        """Most bytes of decoded pixels that one read may hold at a time, with the strip or tile being decoded."""
        return BYTES_PER_PIXEL * self.max_pixels

    def check_bytes(self, size: int) -> None:
        """Refuse to hold more than `max_bytes`. Raises InvalidInputError."""
        if size > self.max_bytes:
            raise InvalidInputError(
                f"{size >> 20} MiB of pixels at once, more than the limit of {self.max_bytes >> 20} MiB.",
                hint="Read it in tiles (--tile), or raise the limit (--max-pixels).",
            )

    def check_size(self, width: int, height: int, bands: int = 1) -> None:
        """Refuse to decode what has no pixels, or more than the limit.

        Raises:
            InvalidInputError: for both.
        """
        if min(width, height, bands) < 1:
            raise InvalidInputError(f"{width}x{height} pixels of {bands} bands: there is no image.")
        if width * height * max(bands, 3) > 3 * self.max_pixels:
            of_bands = f" of {bands} bands" if bands > 3 else ""
            raise InvalidInputError(
                f"{width}x{height} pixels{of_bands}, more than the limit of {3 * self.max_pixels // max(bands, 3)}.",
                hint="Read it in tiles (--tile), or raise the limit (--max-pixels).",
            )
