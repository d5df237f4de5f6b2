"""The facts of every architecture that conditions, orders and columns name, from `model_columns.json`.

`make index` writes the file from the index: without module paths and places of weights it is read in a quarter of the
time. It also has what is measured at the input sizes of tags that are not for the size of the index. Standard library
only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from zoo.core.architectures.line_table import LineTable

COLUMNS_PATH = Path(__file__).with_name("model_columns.json")
COLUMNS_SECTION = "models"

OF_TAGS = ("input_size", "crop_pct", "interpolation", "num_classes", "license", "fixed_input_size")
"""What is kept of a tag, if the index states it."""

_table: Mapping[str, Mapping[str, Any]] = LineTable(COLUMNS_PATH, COLUMNS_SECTION)


def lines() -> Mapping[str, Mapping[str, Any]]:
    """The lines of all architectures by name, parsed at once. They are shared: callers do not change them."""
    return dict(_table.items())


def in_runs(values: Iterable[int]) -> str:
    """Numbers as text, equal neighbours once with their count: "4 8 16x6". It is read faster than many numbers."""
    runs = ((value, sum(1 for _ in equal)) for value, equal in groupby(values))
    return " ".join(f"{value}x{count}" if count > 1 else f"{value}" for value, count in runs)


def from_runs(text: str) -> tuple[int, ...]:
    """The inverse of `in_runs`."""
    runs = (run.partition("x") for run in text.split())
    return tuple(int(value) for value, _, count in runs for _ in range(int(count or 1)))


def columns_line(
    index_line: Mapping[str, Any], measured: Mapping[str, Mapping[str, int]] | None = None
) -> dict[str, Any]:
    """The line of an architecture.

    Args:
        index_line: its line in the index.
        measured: tag -> "params" and "macs", for the tags whose input size is not that of the index. Without, they are
            unknown.
    """
    levels = index_line["levels"]
    return {
        "family": index_line["family"],
        "params": index_line["params"],
        "macs": index_line["macs"],
        "input_size": index_line["input_size"],
        "features": index_line["num_features"],
        "stride": in_runs(reduction for _, _, reduction in levels),
        "channels": in_runs(channels for _, channels, _ in levels),
        "tags": {
            tag: {**{key: values[key] for key in OF_TAGS if key in values}, **(measured or {}).get(tag, {})}
            for tag, values in index_line["tags"].items()
        },
    }
