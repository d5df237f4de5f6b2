"""Tables of which one row can be read alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.core.line_table import LineTable, render_line_table

ROWS = {"b": {"n": 2}, "a": {"text": 'line\nbreak, "quoted"'}, "ä": {"list": [1, None]}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "table.json"
    path.write_text(render_line_table("rows", ROWS), encoding="utf-8")
    return path


def test_the_file_is_json_with_a_line_a_row(path: Path):
    assert json.loads(path.read_text(encoding="utf-8"))["rows"] == ROWS
    assert [line[:2] for line in path.read_text(encoding="utf-8").splitlines()[1:-1]] == ['"a', '"b', '"\\']


def test_names_and_rows(path: Path):
    table = LineTable(path, "rows")
    assert [table.get(name) for name in (*ROWS, "c", "n")] == [*ROWS.values(), None, None]
    assert dict(table) == ROWS
    assert [table.get(name) for name in (*ROWS, "c", "n")] == [*ROWS.values(), None, None]


def test_one_row_is_read_without_the_others(path: Path):
    path.write_text(path.read_text(encoding="utf-8").replace('"b": {', '"b": broken {'), encoding="utf-8")
    table = LineTable(path, "rows")
    assert table["a"] == ROWS["a"]
    with pytest.raises(ValueError):
        len(table)


def test_no_file_is_no_rows(tmp_path: Path):
    table = LineTable(tmp_path / "missing.json", "rows")
    assert table.get("a") is None
    assert not table
