"""The table of models that `zoo list` prints if conditions, columns or an order are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zoo.cli import output
from zoo.core.architectures import registry
from zoo.core.catalog.columns import COLUMNS, Column, ModelRow, Value, rows_of
from zoo.core.catalog.conditions import Condition, parse_condition
from zoo.core.catalog.order import in_order, parse_columns, parse_order

USUAL = ("name", "params", "macs", "input", "channels")
"""The columns on a terminal, if none are asked for; what conditions and orders name stands before the last."""

_HEADINGS = {"macs": "MACs", "channels": "stage channels"}


class Choice(NamedTuple):
    """Which rows and columns to print, and in which order."""

    condition: Condition | None
    order: list[tuple[Column, bool]]
    columns: list[Column] | None
    limit: int | None

    def named(self) -> list[Column]:
        """The columns that the condition and the order name."""
        names = [*(self.condition.columns if self.condition else ()), *(column.name for column, _ in self.order)]
        return [COLUMNS[name] for name in dict.fromkeys(names)]


def parse_choice(where: str | None, sort: str, columns: str, limit: int | None) -> Choice:
    """What the options ask for. Raises UsageError."""
    return Choice(
        None if where is None else parse_condition(where),
        parse_order(sort),
        parse_columns(columns) if columns else None,
        limit,
    )


def chosen_rows(names: Sequence[str], choice: Choice) -> list[ModelRow]:
    """The rows of these models for which the condition holds, in order."""
    rows = rows_of(names)
    if choice.condition is not None:
        rows = [row for row in rows if choice.condition.holds(row)]
    if [column.name for column, _ in choice.order] != ["name"] or choice.order[0][1]:
        rows = in_order(rows, choice.order)  # names come in order
    return rows[: choice.limit]


def print_rows(rows: Sequence[ModelRow], choice: Choice, *, as_json: bool) -> None:
    """Print the rows: a JSON document, a table on a terminal, otherwise a line each."""
    columns = choice.columns
    if as_json:
        output.document({"models": [_as_json(row, choice) for row in rows]})
    elif output.on_terminal():
        if columns is None:
            *first, last = [COLUMNS[name] for name in USUAL]
            columns = list(dict.fromkeys([*first, *choice.named(), last]))
        headings = [_HEADINGS.get(column.name, column.name) for column in columns]
        right = {heading for heading, column in zip(headings, columns, strict=True) if column.kind == "number"}
        texts = [[_drawn(column, row) for column in columns] for row in rows]
        output.table(headings, texts, right=right)
    elif columns is None:
        output.lines(row.full_name for row in rows)
    else:
        output.tab_separated([_plain(column.value(row)) for column in columns] for row in rows)


def _as_json(row: ModelRow, choice: Choice) -> dict[str, object]:
    if choice.columns is not None:
        return {column.name: column.value(row) for column in choice.columns}
    tag = row.full_name.partition(".")[2]
    facts = registry.facts(row.architecture).to_dict()
    return (
        facts
        | {column.name: column.value(row) for column in choice.named()}
        | {
            "name": row.full_name,
            "architecture": row.architecture,
            "tag": tag,
        }
    )


def _drawn(column: Column, row: ModelRow) -> str:
    """A value for a reader on a terminal."""
    value = column.value(row)
    if column.name == "input":
        return "x".join(map(str, row.input_size))
    if column.is_large and isinstance(value, int):
        return output.count(value)
    return " ".join(map(str, value)) if isinstance(value, tuple) else _plain(value)


def _plain(value: Value) -> str:
    """A value for a program that reads lines: numbers in full, `?` if unknown."""
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
