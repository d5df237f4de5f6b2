"""The pixels of a raster without data: one rule for all TIFF readers, so that they agree.

- A nodata value of a measured raster applies to each band. In an 8-bit colour picture it applies to pixels: data are
  missing only if red, green and blue all have the value, as in GDAL's dataset mask. So black within a picture with
  nodata 0 stays black.
- Alpha counts in a georeferenced file if it is not itself read as a band.
- A mask in the file counts for all bands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.core.images.rasters.tiff_header import TiffHeader


def nodata_rule(header: TiffHeader, num_bands: int) -> str:
    """Return 'pixel' or 'band', the unit that a nodata value applies to."""
    return "pixel" if header.is_picture and header.bits == 8 and num_bands == 3 else "band"


def valid_of(
    header: TiffHeader, pixels: NDArray[Any], alpha: NDArray[Any] | None = None, mask: NDArray[Any] | None = None
) -> NDArray[Any] | None:
    """Return the mask of valid data: (bands, height, width), or (height, width) if bands agree; None if all are valid.

    Args:
        header: the file's header.
        pixels: its numbers (bands, height, width), as stored.
        alpha: the alpha sample (height, width), if it is not among the pixels.
        mask: the file's mask (height, width), not 0 where there is data.
    """
    valid: Any = None
    nodata = header.nodata
    if nodata is not None and (stored := stored_as(nodata, pixels.dtype)) is not None:
        valid = ~np.isnan(pixels) if np.isnan(stored) else pixels != stored
        if nodata_rule(header, len(pixels)) == "pixel":
            valid = valid.any(axis=0)
    for part in (alpha, mask):
        if part is not None:
            valid = part != 0 if valid is None else valid & (part != 0)
    if valid is not None and valid.ndim == 2 and header.is_georeferenced and not header.is_picture:
        valid = np.broadcast_to(valid, pixels.shape)  # bands of a measured raster may each have their own
    found: NDArray[Any] | None = valid
    return found


def stored_as(nodata: float | int, dtype: np.dtype[Any]) -> Any:
    """The number in the dtype of the pixels; None if the dtype cannot hold it, so that no pixel has it."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            stored = dtype.type(nodata)
        return stored if np.isfinite(stored) or not np.isfinite(float(nodata)) else None
    if not np.isfinite(nodata) or nodata != int(nodata):
        return None
    limits = np.iinfo(dtype)
    return dtype.type(int(nodata)) if limits.min <= nodata <= limits.max else None
