"""Names, scales and offsets of bands that GDAL writes into a TIFF, as XML in the tag GDAL_METADATA."""

from __future__ import annotations

import math
from typing import NamedTuple
from xml.etree import ElementTree

_NO_MARKUP = "<!"  # a document type could declare entities that grow without end; GDAL writes none


class BandFacts(NamedTuple):
    """One value per sample; empty if the file states none."""

    names: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()


def band_facts(xml: str, samples: int) -> BandFacts:
    """The tag's facts about `samples` bands; empty if the tag is damaged.

    A value is scale times the stored number plus offset. If only one of the two is given, the other is 1 or 0.
    """
    if not xml or _NO_MARKUP in xml:
        return BandFacts()
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError, RecursionError):
        return BandFacts()
    found: dict[str, dict[int, str]] = {"description": {}, "scale": {}, "offset": {}}
    for item in root.iterfind("Item"):
        role, sample = item.get("role", ""), item.get("sample", "")
        if role in found and sample.isascii() and sample.isdecimal() and len(sample) < 6 and int(sample) < samples:
            found[role][int(sample)] = (item.text or "").strip()
    names = tuple(found["description"].get(i, "") for i in range(samples))
    return stated(names, _numbers(found["scale"], samples, 1.0), _numbers(found["offset"], samples, 0.0))


def stated(names: tuple[str, ...], scales: tuple[float, ...], offsets: tuple[float, ...]) -> BandFacts:
    """The facts without those that have no effect: empty names, a scale of 1 with an offset of 0."""
    scaled = any(value != 1 for value in scales) or any(offsets)
    return BandFacts(names if any(names) else (), *((scales, offsets) if scaled else ((), ())))


def _numbers(texts: dict[int, str], samples: int, default: float) -> tuple[float, ...]:
    return tuple(_number(texts.get(i, ""), default) for i in range(samples))


def _number(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if math.isfinite(value) else default
