"""Where a raster has no data: one rule for all readers of TIFF, so that they agree.

- A nodata value of a measured raster counts band by band. Of an 8-bit colour picture it counts pixel by pixel: only
  where red, green and blue all have it is there no data, as GDAL's mask of the dataset has it. Black within a picture
  whose nodata is 0 so stays black.
- Alpha counts where it stands beside a place on the ground and is not itself read as a band.
- A mask in the file counts for all bands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.core.images.rasters.tiff_header import TiffHeader


def nodata_rule(header: TiffHeader, num_bands: int) -> str:
    """For what a nodata value counts: 'pixel' or 'band'."""
    return "pixel" if header.is_picture and header.bits == 8 and num_bands == 3 else "band"


def valid_of(
    header: TiffHeader, pixels: NDArray[Any], alpha: NDArray[Any] | None = None, mask: NDArray[Any] | None = None
) -> NDArray[Any] | None:
    """Where there is data: (bands, height, width), or (height, width) where bands do not differ; None: everywhere.

    Args:
        header: of the file.
        pixels: its numbers (bands, height, width), as stored.
        alpha: the sample (height, width) that is alpha, where it is not among the pixels.
        mask: of the file (height, width), not 0 where there is data.
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
    """The number in the type of the pixels; None where the type cannot hold it, so that it is nowhere."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            stored = dtype.type(nodata)
        return stored if np.isfinite(stored) or not np.isfinite(float(nodata)) else None
    if not np.isfinite(nodata) or nodata != int(nodata):
        return None
    limits = np.iinfo(dtype)
    return dtype.type(int(nodata)) if limits.min <= nodata <= limits.max else None
