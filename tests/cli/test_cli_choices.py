"""Words that an option offers are those that the library takes; an option that offers words is found by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
import typer

from zoo.cli.app import app
from zoo.core.adapt.job import Format
from zoo.core.adapt.request import DTYPES
from zoo.core.channels.band_placement import Missing
from zoo.core.channels.mixing import METHODS, SPECTRAL
from zoo.core.export.engine import DEVICES, PRECISIONS
from zoo.core.export.plan import DTYPES as STORED_DTYPES
from zoo.core.export.plan import POOLS, RUNTIMES
from zoo.core.export.run import ON_ERROR
from zoo.core.export.writers import WRITERS
from zoo.core.graphs.request import DTYPES as GRAPH_DTYPES
from zoo.core.graphs.request import PREPROCESS
from zoo.core.images.rasters.options import AXES, NODATA, PAGES

TAKEN: dict[str, tuple[str, ...]] = {
    "adapt-weights --method": (*METHODS, SPECTRAL),
    "adapt-weights --missing-bands": get_args(Missing),
    "adapt-weights --dtype": tuple(DTYPES),
    "adapt-weights --format": get_args(Format),
    "average --dtype": tuple(DTYPES),
    "convert --dtype": tuple(DTYPES),
    "export --preprocess": PREPROCESS,
    "export --dtype": GRAPH_DTYPES,
    "export-features --nodata": NODATA,
    "export-features --axes": AXES,
    "export-features --pages": PAGES,
    "export-features --pool": POOLS,
    "export-features --dtype": tuple(STORED_DTYPES),
    "export-features --format": tuple(WRITERS),
    "export-features --device": DEVICES,
    "export-features --precision": (*PRECISIONS, "auto"),
    "export-features --on-error": ON_ERROR,
    "evaluate --nodata": NODATA,
    "evaluate --axes": AXES,
    "evaluate --pages": PAGES,
    "evaluate --device": DEVICES,
    "evaluate --precision": (*PRECISIONS, "auto"),
    "evaluate --on-error": ON_ERROR,
    "export-features --runtime": RUNTIMES,
}
OWN = {"export-features --engine"}
"""Options whose words mean something to the command alone."""


def offered(command: Any, name: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each option that offers two words or more, those of its type or of what stands for its value."""
    for word, inner in getattr(command, "commands", {}).items():
        yield from offered(inner, f"{name} {word}".strip())
    for option in command.params:
        words = getattr(option.type, "choices", None) or (option.metavar or "").split("|")
        words = tuple(word for word in words if word.islower())  # N stands for a number
        if len(words) > 1:
            yield f"{name} {option.opts[0]}", words


OFFERED = dict(offered(typer.main.get_command(app)))


@pytest.mark.parametrize("option", [option for option in OFFERED if option not in OWN])
def test_an_option_offers_what_the_library_takes(option: str):
    assert option in TAKEN, "name what the library takes for it"
    assert sorted(OFFERED[option]) == sorted(TAKEN[option])


def test_no_option_is_listed_that_is_gone():
    assert {*TAKEN, *OWN} == OFFERED.keys()
