"""A JSON table on disk with one row a line: one row can be read without parsing the others. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_VALUE = r'("(?:[^"\\]|\\.)*"|\[[^][{}]*\]|[^][{},"]+)'  # a text, a list of plain values, null or a number


class LineTable(Mapping[str, Row]):
    """The rows of `{"schema_version": 1, SECTION: {`, a line `"name": {...},` for each, `}}`.

    Looking one name up parses its line; going through the names parses the file, which takes as long as half of a
    command's other work: `names_where` and `columns` go through the rows as text. A file that is not there is an empty
    table. The rows are shared: callers do not change them.

    Args:
        path: the file.
        section: the key under which the rows are.
    """

    def __init__(self, path: Path, section: str) -> None:
        self._path = path
        self._section = section

    def __getitem__(self, name: str) -> Row:
        if "_rows" in self.__dict__:
            return self._rows[name]
        key = f"\n{json.dumps(name)}: "
        start = self._text.find(key)
        if start < 0:
            raise KeyError(name)
        start += len(key)
        row: Row = json.loads(self._text[start : self._text.index("\n", start)].removesuffix(","))
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def names_where(self, key: str, value: str) -> list[str]:
        """The names of the rows whose `key` is this text, in order; only they are parsed."""
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
        """What every row has under these keys, in order: texts, lists of texts or null. No row is parsed where the keys
        follow each other in every row; KeyError where a row lacks one.
        """
        expression = ",".join(f"{json.dumps(key)}:{_VALUE}" for key in keys)
        found = [match.groups() for match in re.finditer(expression, self._text)]
        if len(found) != self._text.count("\n") - 2:  # the first and the last line are no rows
            return [tuple(row[key] for key in keys) for row in self._rows.values()]
        values = {text: json.loads(text) for texts in found for text in texts}
        return [tuple(values[text] for text in texts) for texts in found]

    @cached_property
    def _text(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    @cached_property
    def _rows(self) -> dict[str, Row]:
        rows: dict[str, Row] = json.loads(self._text)[self._section] if self._text else {}
        return rows


def render_line_table(section: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A file's text from its rows, in order of their names: a change of one row is a change of one line."""
    lines = (f"{json.dumps(name)}: {json.dumps(rows[name], separators=(',', ':'))}" for name in sorted(rows))
    return f'{{"schema_version": 1, "{section}": {{\n' + ",\n".join(lines) + "\n}}\n"
