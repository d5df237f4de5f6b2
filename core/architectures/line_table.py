"""A JSON table on disk with one row per line, which can be read without parsing the others. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from functools import cached_property
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_VALUE = r'("(?:[^"\\]|\\.)*"|\[[^][{}]*\]|[^][{},"]+)'  # a string, a list of plain values, null or a number


class LineTable(Mapping[str, Row]):
    """The rows of `{"schema_version": 1, SECTION: {`, one line `"name": {...},` for each, `}}`.

    Looking up one name parses its line, and the names alone are found without parsing. Iterating over rows parses the
    whole file, which takes half as long as the rest of a command: `names_where` and `columns` search the text instead.
    A missing file is an empty table. The rows are shared: callers do not change them.

    Args:
        path: the file.
        section: the key that holds the rows.
    """

    def __init__(self, path: Path, section: str) -> None:
        self._path = path
        self._section = section

    def __getitem__(self, name: str) -> Row:
        if "rows" in self.__dict__:
            return self.rows[name]
        key = f"\n{json.dumps(name)}: "
        start = self._text.find(key)
        if start < 0:
            raise KeyError(name)
        start += len(key)
        row: Row = json.loads(self._text[start : self._text.index("\n", start)].removesuffix(","))
        return row

    def __iter__(self) -> Iterator[str]:
        if "rows" in self.__dict__:
            return iter(self.rows)
        return map(_name_of, self._text.split("\n")[1:-2])  # the first and the last line are not rows

    def __len__(self) -> int:
        return len(self.rows) if "rows" in self.__dict__ else max(0, self._text.count("\n") - 2)

    def items(self) -> ItemsView[str, Row]:
        """The names and their rows, parsed all at once."""
        return self.rows.items()

    def values(self) -> ValuesView[Row]:
        """The rows, parsed all at once."""
        return self.rows.values()

    def names_where(self, key: str, value: str) -> list[str]:
        """The names of the rows whose `key` has this string value, in order; only these rows are parsed."""
        found = []
        wanted = f"{json.dumps(key)}:{json.dumps(value)}"
        at = self._text.find(wanted)
        while at >= 0:
            start, end = self._text.rfind("\n", 0, at) + 1, self._text.index("\n", at)
            line: dict[str, Row] = json.loads(f"{{{self._text[start:end].removesuffix(',')}}}")
            found += [name for name, row in line.items() if row.get(key) == value]
            at = self._text.find(wanted, end)
        return found

    def columns(self, *keys: str) -> list[tuple[Any, ...]]:
        """Every row's values under these keys, in order: strings, lists of strings or null.

        No row is parsed if the keys are adjacent in every row. Raises KeyError if a row lacks one.
        """
        expression = ",".join(f"{json.dumps(key)}:{_VALUE}" for key in keys)
        found = [match.groups() for match in re.finditer(expression, self._text)]
        if len(found) != self._text.count("\n") - 2:  # the first and the last line are not rows
            return [tuple(row[key] for key in keys) for row in self.rows.values()]
        values = {text: json.loads(text) for texts in found for text in texts}
        return [tuple(values[text] for text in texts) for texts in found]

    def columns_of_some(self, *keys: str) -> list[tuple[Any, ...]]:
        """As `columns`, of the rows that have these keys; they are adjacent there."""
        expression = ",".join(f"{json.dumps(key)}:{_VALUE}" for key in keys)
        return [tuple(map(json.loads, match.groups())) for match in re.finditer(expression, self._text)]

    @cached_property
    def _text(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    @cached_property
    def rows(self) -> dict[str, Row]:
        """The rows by name, parsed all at once."""
        rows: dict[str, Row] = json.loads(self._text)[self._section] if self._text else {}
        return rows


def _name_of(line: str) -> str:
    name = line[1 : line.index('": ')]
    return name if "\\" not in name and '"' not in name else json.JSONDecoder().raw_decode(line)[0]


def render_line_table(section: str, rows: Mapping[str, Any]) -> str:
    """A file's text from its rows, sorted by name: changing one row changes one line."""
    lines = (f"{json.dumps(name)}: {json.dumps(rows[name], separators=(',', ':'))}" for name in sorted(rows))
    return f'{{"schema_version": 1, "{section}": {{\n' + ",\n".join(lines) + "\n}}\n"
