"""Assign the filters of a pretrained input layer to the bands of a different sensor. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from zoo.core.channels.sensors import Band
from zoo.core.errors import UsageError

LONGEST_REFLECTED = 3000.0
"""Nanometres. Longer wavelengths are thermal, and their distance in nanometres to colours means nothing."""

Missing = Literal["nearest", "interpolate", "mean", "zero"]
How = Literal["name", "wavelength", "nearest", "interpolate", "mean", "zero", "no wavelength", "not by wavelength"]
"""The last two: the mean of all source filters, because the band has no wavelength or one without meaning here."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The filter of one target band: shares of source filters, as (index, share), that sum to 1; empty for zeros."""

    band: Band
    shares: tuple[tuple[int, float], ...]
    how: How


def place_bands(source: Sequence[Band], target: Sequence[Band], missing: Missing = "nearest") -> tuple[Placement, ...]:
    """Choose the source filters for each target band.

    A target band's counterpart is, in this order: the source band of the same name and sensor; the source band of the
    same common name; unless `missing` is 'interpolate', the source band nearest in wavelength, if it is no further away
    than half the width of the wider of the two. A band without a counterpart gets:

        nearest      the filter of the source band nearest in wavelength
        interpolate  a mixture of its two neighbours, linear in wavelength; outside their range, the nearest
        mean         the mean of all source filters
        zero         nothing

    Source bands at equal distance share equally. Panchromatic, thermal and radar bands, and channels that are not bands
    (an index, elevation, a mask), have no place on the wavelength scale: they match by name only, and get the mean of
    all source filters instead of a nearest or interpolated one.

    Raises:
        UsageError: there are no source bands, or none on the wavelength scale.
    """
    if missing not in get_args(Missing):
        raise UsageError(f"missing must be one of {', '.join(get_args(Missing))}, found {missing!r}.")
    if not source:
        raise UsageError("There are no source bands to place.")
    return tuple(_place(source, band, missing) for band in target)


def _place(source: Sequence[Band], band: Band, missing: Missing) -> Placement:
    def placed(how: How, shares: Sequence[tuple[int, float]]) -> Placement:
        return Placement(band=band, shares=tuple(shares), how=how)

    same_name = _where(source, lambda s: s.is_same(band))
    same_name = same_name or _where(source, lambda s: bool(s.common_name) and s.common_name == band.common_name)
    if same_name:
        return placed("name", _nearest(source, band, same_name))
    on_scale = _where(source, _has_place) if _has_place(band) else []
    nearest = _nearest(source, band, on_scale)
    if missing != "interpolate" and any(_overlap(source[index], band) for index, _ in nearest):
        return placed("wavelength", nearest)
    if missing == "zero":
        return placed("zero", ())
    if missing == "mean":
        return placed("mean", _equal_shares(range(len(source))))
    if not _has_place(band):
        how: How = "no wavelength" if band.wavelength is None else "not by wavelength"
        return placed(how, _equal_shares(range(len(source))))
    if not nearest:
        raise UsageError(
            f"The band {band.name} lies in a part of the spectrum where the source has no band, so none is "
            "its nearest.",
            hint="Give it the mean of all bands with --missing-bands mean, or zeros with --missing-bands zero.",
        )
    if missing == "nearest":
        return placed("nearest", nearest)
    return placed(*_interpolate(source, band, on_scale))


def _where(source: Sequence[Band], condition: Callable[[Band], bool]) -> list[int]:
    return [index for index, band in enumerate(source) if condition(band)]


def _has_place(band: Band) -> bool:
    return band.wavelength is not None and band.wavelength < LONGEST_REFLECTED and band.common_name != "pan"


def _distance(one: Band, other: Band) -> float:
    """Nanometres between the centres; 0 for bands of equal name that have no centre."""
    if one.wavelength is None or other.wavelength is None:
        return 0.0
    return abs(one.wavelength - other.wavelength)


def _overlap(one: Band, other: Band) -> bool:
    return _distance(one, other) <= max(one.width or 0.0, other.width or 0.0) / 2


def _equal_shares(indices: Sequence[int]) -> list[tuple[int, float]]:
    return [(index, 1 / len(indices)) for index in indices]


def _nearest(source: Sequence[Band], band: Band, among: Sequence[int]) -> list[tuple[int, float]]:
    least = min((_distance(source[index], band) for index in among), default=0.0)
    return _equal_shares([index for index in among if _distance(source[index], band) == least])


def _interpolate(source: Sequence[Band], band: Band, among: Sequence[int]) -> tuple[How, list[tuple[int, float]]]:
    place = {index: source[index].wavelength or 0.0 for index in among}
    wanted = band.wavelength or 0.0
    below = [index for index in among if place[index] <= wanted]
    above = [index for index in among if place[index] >= wanted]
    nearest = _nearest(source, band, among)
    if place[nearest[0][0]] == wanted:
        return "wavelength", nearest
    if not below or not above:
        return "nearest", nearest
    lower, upper = _nearest(source, band, below), _nearest(source, band, above)
    low, high = place[lower[0][0]], place[upper[0][0]]
    toward_upper = (wanted - low) / (high - low)
    mixed = [(index, share * (1 - toward_upper)) for index, share in lower]
    mixed += [(index, share * toward_upper) for index, share in upper]
    return "interpolate", sorted(mixed)
