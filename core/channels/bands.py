"""Find bands by the names that people use for them. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from zoo.core.channels.auxiliary_channels import PREFIX, auxiliary_channel, known_names, named_channel
from zoo.core.channels.sensors import Band, Sensor, find_sensor, is_numbered, sensors, simplify, simplify_band
from zoo.core.errors import UsageError

DEFAULT_SENSOR = "sentinel2"
"""The sensor that band numbers refer to if none is named; `assumed_sensor` tells when that is so."""

COMMON = "common"
"""The table entry that holds the common names themselves."""

ALIASES = {
    "r": "red",
    "g": "green",
    "b": "blue",
    "y": "yellow",
    "n": "nir",
    "nearinfrared": "nir",
    "narrownir": "nir08",
    "nirnarrow": "nir08",
    "watervapour": "nir09",
    "watervapor": "nir09",
    "re": "rededge",
    "re1": "rededge071",
    "re2": "rededge075",
    "re3": "rededge078",
    "rededge1": "rededge071",
    "rededge2": "rededge075",
    "rededge3": "rededge078",
    "ca": "coastal",
    "aerosol": "coastal",
    "coastalaerosol": "coastal",
    "coastalblue": "coastal",
    "swir1": "swir16",
    "swir2": "swir22",
    "p": "pan",
    "panchromatic": "pan",
    "tir": "lwir",
    "thermal": "lwir",
    "tir1": "lwir11",
    "tir2": "lwir12",
    "tirs1": "lwir11",
    "tirs2": "lwir12",
}
"""Other spellings of the common names."""

NARROWER = {
    "green": ("green05",),
    "rededge": ("rededge071", "rededge075", "rededge078"),
    "nir": ("nir08", "nir09"),
    "swir": ("swir16", "swir22"),
    "lwir": ("lwir11", "lwir12"),
}
"""Common names that a broader one stands for, at a sensor with exactly one of them and without the broader one."""

SAME_WAVELENGTH = 40.0
"""The most nanometres by which sensors may differ on a name that is used without its sensor."""

_WAVELENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(nm|um|\u00b5m|\u03bcm)?")


def parse_bands(names: str | Sequence[str] | None, sensor: str | None = None) -> tuple[Band, ...]:
    """Parse band names, keeping their order.

    Args:
        names: names, or one text with commas between them. A name is the sensor's own name of a band ('B8A' is 'b8a'
            and 'Band 8A'; the bands of sensors without numbers count from 1), a common name (red, NIR, RE1, swir16), a
            wavelength (450nm, 0.45um, a bare number from 100), 'sensor:name', or a channel that is not a band: a known
            name such as NDVI, or any name as 'aux:name'. None: all bands of the sensor's image.
        sensor: name of a sensor in the table. Without one, a number is a band of DEFAULT_SENSOR, and so are the common
            names in the same list. A common name in a list without numbers means the middle of its published range. Any
            other name counts if all sensors that have it agree.

    Raises:
        UsageError: an unknown or ambiguous name, a repeated band, an empty list.
    """
    if names is None:
        if sensor is None:
            raise UsageError("Neither bands nor a sensor was named.", hint="Name bands with --bands, or --sensor.")
        return find_sensor(sensor).bands
    given = _split(names)
    if not given or not all(given):
        raise UsageError(f"Expected band names separated by commas, found {names!r}.")
    assumed = assumed_sensor(given, sensor)
    named = assumed or sensor
    home = None if named is None else find_sensor(named)
    found = tuple(_find_band(name, home, bool(assumed)) for name in given)
    _refuse_repeated(given, found)
    return found


def assumed_sensor(names: str | Sequence[str] | None, sensor: str | None) -> str:
    """DEFAULT_SENSOR if `parse_bands` with these arguments assumes it (tell the user), otherwise empty."""
    if names is None or sensor is not None:
        return ""
    return DEFAULT_SENSOR if any(is_numbered(name) and _wavelength(name) is None for name in _split(names)) else ""


def _split(names: str | Sequence[str]) -> list[str]:
    return [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]


def _find_band(name: str, home: Sensor | None, assumed: bool) -> Band:
    """The one band of that name: at the sensor before a colon, at `home`, or at any sensor if none was named."""
    prefix, colon, rest = name.partition(":")
    if colon and simplify(prefix) == PREFIX:
        return named_channel(rest)
    if colon:
        name, home, assumed = rest.strip(), find_sensor(prefix), False
    typed = _wavelength(name)
    if typed is not None:
        return typed
    matches = _lookup(name, home or find_sensor(COMMON))
    if not matches and (home is None or assumed) and not is_numbered(name):
        matches = _agreeing(name)
    if len(matches) == 1:
        return matches[0]
    if matches:
        hint = f"Name one of {', '.join(map(_describe, matches))}."
        raise UsageError(f"{name!r} stands for more than one band of {(home or find_sensor(COMMON)).name}.", hint=hint)
    if not is_numbered(name) and (channel := auxiliary_channel(name)):
        return channel
    where = home.name if home else "any sensor"
    if assumed and is_numbered(name):
        raise UsageError(
            f"{name!r} is no band of {where}, whose bands numbers mean where no sensor is named.",
            hint=f"{_nearest_bands(name, home)} Bands of another sensor need its name: --sensor.",
        )
    raise UsageError(f"{name!r} is no band of {where}.", hint=_nearest_names(name, home))


def _wavelength(name: str) -> Band | None:
    """A band that was named by its wavelength; a number below 100 without a unit is a band number."""
    match = _WAVELENGTH.fullmatch(name.replace(" ", "").lower())
    if match is None:
        return None
    number, unit = float(match[1]), match[2]
    nanometres = round(number * (1000 if unit and unit != "nm" else 1), 6)
    if nanometres < 100:
        if unit:
            raise UsageError(f"A wavelength must be 100 nm or more, found {name!r}.")
        return None
    return Band(name=f"{nanometres:.10g}nm", wavelength=nanometres)


def _lookup(name: str, sensor: Sensor) -> tuple[Band, ...]:
    """The sensor's bands of that name: its own names first, then common names, then broader ones."""
    official, common = _spellings(sensor)
    simple = simplify_band(name)
    if simple in official:
        return (official[simple],)
    simple = ALIASES.get(simple, simple)
    if simple in common:
        return (common[simple],)
    return tuple(common[narrow] for narrow in NARROWER.get(simple, ()) if narrow in common)


@cache
def _spellings(sensor: Sensor) -> tuple[dict[str, Band], dict[str, Band]]:
    """The sensor's bands by every spelling of their own names, and by common name."""
    own = {simplify_band(spelling): band for band in sensor.all_bands for spelling in (band.name, *band.aliases)}
    if not any(is_numbered(spelling) for spelling in own):
        own |= {f"b{number}": band for number, band in enumerate(sensor.bands, 1)}
    return own, {band.common_name: band for band in sensor.all_bands if band.common_name}


def _agreeing(name: str) -> tuple[Band, ...]:
    """The band that all sensors with this name agree on; empty if no sensor has it."""
    simple = simplify_band(name)
    found = [own[simple] for own, _ in map(_spellings, sensors()) if simple in own]
    positions = [band.wavelength for band in found if band.wavelength is not None]
    if len(positions) not in (0, len(found)) or (positions and max(positions) - min(positions) > SAME_WAVELENGTH):
        hint = f"Say which with --sensor: {', '.join(dict.fromkeys(map(_describe, found)))}."
        raise UsageError(f"{name!r} stands for different bands on different sensors.", hint=hint)
    return tuple(found[:1])


def _describe(band: Band) -> str:
    place = "" if band.wavelength is None else f" ({band.wavelength:g} nm)"
    return f"{band.sensor}:{band.name}{place}"


def _nearest_names(name: str, home: Sensor | None) -> str:
    if is_numbered(name):
        return _nearest_bands(name, home)
    return f"{_nearest_bands(name, home)} What is no band, such as an index, is written {PREFIX}:{name.strip()}."


def _nearest_bands(name: str, home: Sensor | None) -> str:
    from difflib import get_close_matches

    known = {simplify(common): common for common in ALIASES}
    for sensor in [home] if home else sensors():
        known |= {simplify(spelling): spelling for b in sensor.all_bands for spelling in (b.common_name, b.name)}
    nearest = get_close_matches(simplify(name), filter(None, known), n=1)
    if nearest:
        return f"Did you mean {known[nearest[0]]}?"
    channels = get_close_matches(name.strip().upper(), known_names(), n=1)
    if channels:
        return f"Did you mean {channels[0]}?"
    if home:
        return f"{home.name} has {', '.join(band.name for band in home.all_bands)}; another --sensor may have it."
    return "Name a --sensor, or give wavelengths such as 450nm."


def _refuse_repeated(given: Sequence[str], found: Sequence[Band]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for name, band in zip(given, found, strict=True):
        channel = (band.sensor, simplify(band.name))
        if channel in seen:
            raise UsageError(f"{seen[channel]!r} and {name!r} are the same band, {band.name}.", hint="Name it once.")
        seen[channel] = name
