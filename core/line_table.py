"""A JSON table on disk with one row a line: one row can be read without parsing the others. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class LineTable(Mapping[str, Row]):
    """The rows of `{"schema_version": 1, SECTION: {`, a line `"name": {...},` for each, `}}`.

    Looking one name up parses its line; going through the names parses the file. A file that is not there is an
    empty table. The rows are shared: callers do not change them.

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
