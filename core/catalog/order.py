"""The order of rows, and the columns that a person names. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zoo.core.architectures.names import natural_key
from zoo.core.catalog.columns import COLUMNS, Column, ModelRow
from zoo.core.errors import UsageError


def parse_columns(text: str, option: str = "--columns") -> list[Column]:
    """Parse column names with commas between them. Raises UsageError for one that does not exist."""
    return [_column(word.strip(), option) for word in text.split(",")]


def parse_order(text: str) -> list[tuple[Column, bool]]:
    """Parse `family,-top1` as columns, each with whether it is in descending order. Raises UsageError."""
    return [
        (_column(word.removeprefix("-"), "--sort"), word.startswith("-")) for word in map(str.strip, text.split(","))
    ]


def _column(word: str, option: str) -> Column:
    found = COLUMNS.get(word.lower())
    if found is not None:
        return found
    import difflib

    near = difflib.get_close_matches(word.lower(), COLUMNS, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"{option} takes names of columns with commas between them, found {word!r}.",
        hint=f"{hint}The columns are {', '.join(COLUMNS)}.",
    )


def in_order(rows: Sequence[ModelRow], order: Sequence[tuple[Column, bool]]) -> list[ModelRow]:
    """The rows sorted by columns, the first one first; unknown values are last, equal rows keep their order."""
    found = list(rows)
    for column, descending in reversed(order):
        known = [row for row in found if column.value(row) is not None]
        unknown = [row for row in found if column.value(row) is None]
        known.sort(key=_key_of(column), reverse=descending)
        found = known + unknown
    return found


def _key_of(column: Column) -> Callable[[ModelRow], Any]:
    def key(row: ModelRow) -> Any:
        value = column.value(row)
        return natural_key(value) if isinstance(value, str) else value

    return key
