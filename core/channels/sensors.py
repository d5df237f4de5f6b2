"""The bands of each sensor, their wavelengths and the sources: sensors.json as records. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from zoo.core.errors import UsageError

SENSORS_PATH = Path(__file__).with_name("sensors.json")

_NUMBERED = re.compile(r"(?:b|band|ch|channel)?0*([0-9]+)([a-z]?)")
_SEPARATORS = re.compile(r"(?<=[^\W_])[\s_-]+(?=[^\W_])")


@dataclass(frozen=True, kw_only=True)
class Band:
    """One channel of an image.

    `wavelength` (the centre) and `width` (full width at half maximum, or the published range) are in nanometres, or
    None if unknown or meaningless. `common_name` is from the STAC EO extension, or empty. `sensor` is the sensor whose
    row defines the band, empty for a wavelength that the user typed.
    """

    name: str
    common_name: str = ""
    wavelength: float | None = None
    width: float | None = None
    sensor: str = ""
    aliases: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def is_same(self, other: Band) -> bool:
        """Whether both are the same channel: equal sensor and name, in any spelling."""
        return (self.sensor, simplify(self.name)) == (other.sensor, simplify(other.name))


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """A sensor and its bands.

    `bands` are the channels of one multispectral image, in order; `other_bands` (panchromatic, thermal, a second file)
    can be named too. `source` and `url` say where the numbers are published.
    """

    name: str
    title: str
    source: str
    url: str
    bands: tuple[Band, ...]
    other_bands: tuple[Band, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def all_bands(self) -> tuple[Band, ...]:
        """The bands of the sensor's image, then the others."""
        return self.bands + self.other_bands


@cache
def sensors() -> tuple[Sensor, ...]:
    """Every sensor of the table, in its order."""
    found: dict[str, Sensor] = {}
    for name, row in json.loads(SENSORS_PATH.read_text(encoding="utf-8")).items():
        found[name] = Sensor(
            name=name,
            title=row["title"],
            source=row["source"],
            url=row["url"],
            bands=_bands(name, row["bands"], found),
            other_bands=_bands(name, row.get("other_bands", []), found),
            aliases=tuple(row.get("aliases", ())),
        )
    return tuple(found.values())


def find_sensor(name: str) -> Sensor:
    """Find a sensor by name or alias, ignoring case, spaces, hyphens and underscores. Raises UsageError."""
    spellings = _sensors_by_spelling()
    sensor = spellings.get(simplify(name))
    if sensor is None:
        from difflib import get_close_matches

        nearest = get_close_matches(simplify(name), spellings, n=1)
        hint = f"Did you mean {spellings[nearest[0]].name}?" if nearest else f"Known are: {', '.join(_names())}."
        raise UsageError(f"There is no sensor called {name!r}.", hint=hint)
    return sensor


def simplify(name: str) -> str:
    """A name for comparison: in lower case, without spaces, hyphens and underscores within it."""
    return _SEPARATORS.sub("", name.strip()).lower()


def simplify_band(name: str) -> str:
    """A band's name for comparison: 'B02', 'b2', 'Band 2' and '2' all become 'b2'; other names as in `simplify`."""
    simple = simplify(name)
    numbered = _NUMBERED.fullmatch(simple)
    return f"b{numbered[1]}{numbered[2]}" if numbered else simple


def is_numbered(name: str) -> bool:
    """Whether a band's name is only a number, such as B8 or 8A, and so needs a sensor."""
    return bool(_NUMBERED.fullmatch(simplify(name)))


def _names() -> list[str]:
    return [sensor.name for sensor in sensors()]


@cache
def _sensors_by_spelling() -> dict[str, Sensor]:
    return {simplify(spelling): sensor for sensor in sensors() for spelling in (sensor.name, *sensor.aliases)}


def _bands(sensor: str, rows: Any, earlier: Mapping[str, Sensor]) -> tuple[Band, ...]:
    """Parse rows of the table; `{"of": sensor, "names": [...]}` reuses bands of an earlier sensor."""
    if isinstance(rows, dict):
        known = {band.name: band for band in earlier[rows["of"]].all_bands}
        return tuple(known[name] for name in rows["names"])
    return tuple(_band(sensor, row) for row in rows)


def _band(sensor: str, row: Mapping[str, Any]) -> Band:
    wavelength, width = row.get("wavelength"), row.get("width")
    if "range" in row:
        # The STAC EO extension defines them so from the ends of a range.
        low, high = row["range"]
        wavelength, width = (low + high) / 2, high - low
    return Band(
        name=row["name"],
        common_name=row.get("common_name", ""),
        wavelength=None if wavelength is None else float(wavelength),
        width=None if width is None else float(width),
        sensor=sensor,
        aliases=tuple(row.get("aliases", ())),
    )
