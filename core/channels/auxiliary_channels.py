"""Channels that are not spectral bands: indices, elevation, masks, radar quantities. Standard library only.

They have no wavelength. `aux:NAME` is such a channel for any name. The names below need no prefix, since no band has
them or a name one typo away: TRI (close to TIR) and NIRv are left out.
"""

from __future__ import annotations

import re

from zoo.core.channels.sensors import Band
from zoo.core.errors import UsageError

PREFIX = "aux"

GROUPS = {
    "vegetation": (
        "NDVI", "EVI", "EVI2", "SAVI", "OSAVI", "MSAVI", "GNDVI", "RVI", "DVI", "ARVI", "VARI", "NDRE", "GCI", "CIRE",
        "LAI", "FAPAR", "FCOVER", "TCARI", "MCARI",
    ),
    "water, snow, soil, built-up land": (
        "NDWI", "MNDWI", "AWEI", "NDMI", "NDSI", "NDBI", "BSI", "NDTI", "TCB", "TCG", "TCW",
    ),
    "fire": ("NBR", "NBR2", "DNBR", "BAI"),
    "terrain": (
        "DEM", "DSM", "DTM", "DHM", "CHM", "NDSM", "SRTM", "ELEVATION", "ALTITUDE", "HEIGHT", "DEPTH", "BATHYMETRY",
        "SLOPE", "ASPECT", "HILLSHADE", "CURVATURE", "ROUGHNESS", "TPI", "TWI",
    ),
    "masks and classes": (
        "MASK", "CLOUD", "CLOUDS", "SHADOW", "QA", "SCL", "CLASSES", "LANDCOVER", "LULC", "NODATA", "VALID",
    ),
    "radar": (
        "COHERENCE", "COH", "AMPLITUDE", "INTENSITY", "PHASE", "BACKSCATTER", "INCIDENCE", "INTERFEROGRAM",
    ),
    "weather and surface": (
        "LST", "SST", "TEMPERATURE", "PRECIPITATION", "RAINFALL", "HUMIDITY", "MOISTURE", "WIND", "PRESSURE",
    ),
    "place and time": ("LAT", "LON", "LATITUDE", "LONGITUDE", "DISTANCE", "DATE", "MONTH", "DOY"),
    "other": ("INDEX", "POPULATION", "NIGHTLIGHTS", "LIDAR", "DENSITY", "PROBABILITY", "TEXTURE", "ENTROPY"),
}  # fmt: skip
"""Names by topic. A name is accepted if one of its words is here: NDVI_mean, DEM30, coherence-VV."""

_NAMES = frozenset(name.lower() for names in GROUPS.values() for name in names)
_WORD = re.compile(r"[^\W_\d]+[0-9]?|[0-9]+")
_MAX_NAME = 100


def auxiliary_channel(name: str) -> Band | None:
    """The known channel of a name without a prefix; None for any other name."""
    words = [word.lower() for word in _WORD.findall(name)]
    is_known = any(word in _NAMES or word.rstrip("0123456789") in _NAMES for word in words)
    return named_channel(name) if is_known else None


def named_channel(name: str) -> Band:
    """A channel of any name. Raises UsageError for a name that is empty, too long, or not printable."""
    given = name.strip()
    if not given or len(given) > _MAX_NAME or not given.isprintable() or ":" in given:
        raise UsageError(
            f"A channel's name is a text of one line and at most {_MAX_NAME} characters, found {name[:80]!r}.",
            hint=f"For example: {PREFIX}:NDVI",
        )
    return Band(name=given, sensor=PREFIX)


def known_names() -> list[str]:
    """Every name that needs no prefix, group by group."""
    return [name for names in GROUPS.values() for name in names]
