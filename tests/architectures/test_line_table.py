"""Tables of which one row can be read alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.core.architectures.line_table import LineTable, render_line_table

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
    assert list(table) == sorted(ROWS)
    assert len(table) == len(ROWS)
    with pytest.raises(ValueError):
        table.items()


def test_no_file_is_no_rows(tmp_path: Path):
    table = LineTable(tmp_path / "missing.json", "rows")
    assert table.get("a") is None
    assert not table


def test_rows_are_found_by_a_text_in_them_without_parsing_the_others(tmp_path: Path):
    rows = {
        "a": {"kind": "x", "inner": {"kind": "y"}},
        "b": {"kind": "y"},
        "c": {"note": '"kind":"y"', "kind": "z"},
        "d": {"kind": 'say "y"'},
        "e": {"kind": "y", "inner": {"kind": "y"}},
    }
    path = tmp_path / "kinds.json"
    path.write_text(render_line_table("rows", rows).replace('"a": {"kind"', '"a": {"broken" "kind"'), encoding="utf-8")
    table = LineTable(path, "rows")
    assert table.names_where("kind", "z") == ["c"]
    assert table.names_where("kind", 'say "y"') == ["d"]
    assert table.names_where("kind", "none") == []
    path.write_text(render_line_table("rows", rows), encoding="utf-8")
    assert LineTable(path, "rows").names_where("kind", "y") == ["b", "e"]
    assert LineTable(tmp_path / "missing.json", "rows").names_where("kind", "y") == []


@pytest.mark.parametrize(
    "extra",
    [{}, {"n": 1, "x": [1, {"m": 2}]}, {"x": {"first": "p", "second": "q"}}, {"second": "after", "first": "before"}],
    ids=["neighbours", "others beside them", "the same keys inside a value", "apart"],
)
def test_columns_are_what_the_rows_hold(tmp_path: Path, extra: dict[str, object]):
    rows = {
        "a": {"first": "one", "second": "two"} | extra,
        "b": extra | {"first": ["one", "thr,ee"], "second": None},
        "c": {"first": 'a "quoted", text', "second": []} | extra,
    }
    path = tmp_path / "columns.json"
    path.write_text(render_line_table("rows", rows), encoding="utf-8")
    expected = [(row["first"], row["second"]) for row in rows.values()]
    assert LineTable(path, "rows").columns("first", "second") == expected
    assert LineTable(tmp_path / "missing.json", "rows").columns("first", "second") == []


def test_a_row_without_the_key_of_a_column(tmp_path: Path):
    path = tmp_path / "columns.json"
    path.write_text(render_line_table("rows", {"a": {"k": 1}, "b": {}}), encoding="utf-8")
    with pytest.raises(KeyError):
        LineTable(path, "rows").columns("k")
