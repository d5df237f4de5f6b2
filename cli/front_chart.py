"""The chart of `zoo list --plot`, and what is printed about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from zoo.cli import output
from zoo.core.architectures.accuracy import SOURCE
from zoo.core.catalog.chart import Axis, draw_chart, format_of
from zoo.core.catalog.columns import Column, ModelRow
from zoo.core.catalog.front import Point
from zoo.core.catalog.order import parse_columns
from zoo.core.errors import InvalidInputError, UsageError

_LABELS = {
    "macs": "multiply-accumulates for one image",
    "params": "parameters",
    "input": "longer side of the input in pixels",
    "top1": "top-1 accuracy on ImageNet-1k, %",
    "top5": "top-5 accuracy on ImageNet-1k, %",
    "real_top1": "top-1 accuracy with reassessed labels, %",
    "real_top5": "top-5 accuracy with reassessed labels, %",
}


class _Axes(NamedTuple):
    x: Column
    y: Column


def draw_front(
    rows: Sequence[ModelRow], path: Path, *, x: str, y: str, condition: str, force: bool, as_json: bool
) -> None:
    """Draw the models whose cost and worth are known, and print those on the front, by rising cost.

    Raises:
        UsageError: an axis is no column of numbers, or the file's name ends otherwise.
        InvalidInputError: cost or worth is known of no model.
    """
    format_of(path)  # before anything else is done
    axes = _Axes(_axis(x, "--x"), _axis(y, "--y"))
    points = _points(rows, axes)
    if not points:
        raise InvalidInputError(
            f"{axes.x.name} and {axes.y.name} are known of none of {len(rows)} models.",
            hint=f"`zoo list --where '{axes.y.name}!=unknown'` lists those of which {axes.y.name} is.",
        )
    title = f"{len(points)} models by {axes.y.name} and {axes.x.name}" + (f", where {condition}" if condition else "")
    source = f"Accuracies: {SOURCE}" if axes.y.is_percent or axes.x.is_percent else ""
    drawn = draw_chart(points, path, x=_labelled(axes.x), y=_labelled(axes.y), title=title, source=source, force=force)
    if len(points) < len(rows):
        unknown = len(rows) - len(points)
        output.note(f"{unknown} of {len(rows)} models are left out: their {x} or {y} is not known.")
    status = "unchanged" if drawn.unchanged else "written"
    if as_json:
        front = [{"name": point.name, axes.x.name: point.cost, axes.y.name: point.worth} for point in drawn.front]
        output.document({"plot": str(path), "status": status, "models": len(points), "front": front})
        return
    output.lines([f"{path}: {status}, {len(points)} models, {len(drawn.front)} on the front"])
    output.tab_separated([point.name, f"{point.worth:g}", f"{point.cost:.12g}"] for point in drawn.front)


def _axis(name: str, option: str) -> Column:
    column, *others = parse_columns(name, option)
    if others or column.kind != "number":
        raise UsageError(
            f"{option} takes one column of numbers, found {name!r}.", hint="For example: --x params --y top5"
        )
    return column


def _points(rows: Sequence[ModelRow], axes: _Axes) -> list[Point]:
    found = []
    for row in rows:
        cost, worth = axes.x.value(row), axes.y.value(row)
        if isinstance(cost, int | float) and isinstance(worth, int | float):
            found.append(Point(row.full_name, cost, worth))
    return found


def _labelled(column: Column) -> Axis:
    return Axis(column.name, _LABELS.get(column.name, column.phrase), column.is_large, column.is_percent)
