"""Lists and tables of paths as other programs write them, and what they must never widen to."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from zoo.core.errors import InvalidInputError, NotFoundError, UsageError
from zoo.core.images.inputs.find import find_inputs
from zoo.core.images.inputs.input_list import InputList
from zoo.core.images.inputs.path_list import read_path_list
from zoo.core.images.inputs.path_pattern import expand_braces


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with images, also such that no list names."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b c.jpg", "sub/caf\u00e9.jpg", "sub/\u7167\u7247.jpg", "other/never_named.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def ids(inputs: InputList) -> list[str]:
    return [item.id for item in inputs]


def listed(content: bytes) -> list[str]:
    Path("list.txt").write_bytes(content)
    return ids(find_inputs([], from_file="list.txt"))


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
NAMES = ["a.jpg", "b c.jpg", "sub/caf\u00e9.jpg", "sub/\u7167\u7247.jpg"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
def test_a_list_is_decoded_by_its_mark(work: Path, encoding: str, end: str) -> None:
    mark = "\ufeff" if encoding[-2:] in ("le", "be") else ""  # Python writes the others' by itself
    assert listed((mark + end.join(NAMES) + end).encode(encoding)) == NAMES


def test_a_long_list_in_utf16_is_decoded_over_the_blocks_that_are_read() -> None:
    names = ["\U0001f98b" * (n % 7) + f"{n}.png" for n in range(30_000)]
    content = "\n".join(names).encode("utf-16")
    assert list(read_path_list(io.BytesIO(content), "list")) == names


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_utf16_without_a_mark_is_refused_with_the_command(work: Path, encoding: str, end: str) -> None:
    with pytest.raises(InvalidInputError, match="without a byte order mark") as raised:
        listed("".join(f"{name}{end}" for name in NAMES).encode(encoding))
    assert raised.value.hint == "Convert it: iconv -f UTF-16LE -t UTF-8 list.txt > list.txt.utf8"


def test_utf16_that_is_cut_off_is_refused(work: Path) -> None:
    with pytest.raises(InvalidInputError, match="UTF-16, but is not valid in it"):
        listed("a.jpg\n".encode("utf-16")[:-1])


def test_bytes_outside_utf8_are_names_where_there_are_such_files_and_refused_elsewhere(work: Path) -> None:
    latin = "caf\u00e9.jpg".encode("latin-1")
    with pytest.raises(InvalidInputError, match=r"Line 2 of list\.txt is not UTF-8"):
        listed(b"a.jpg\n" + latin + b"\n")
    assert listed(b"a.jpg\0" + latin + b"\0") == ["a.jpg", os.fsdecode(latin)]  # as find -print0 gives names
    Path(os.fsdecode(latin)).write_bytes(b"")
    assert listed(b"a.jpg\n" + latin + b"\n") == ["a.jpg", os.fsdecode(latin)]


@pytest.mark.parametrize("entry", [".", "./", "..", "/", "//", "../..", "./."])
@pytest.mark.parametrize("separator", ["\n", "\0"])
def test_a_list_does_not_widen_to_a_folder_without_a_name(work: Path, entry: str, separator: str) -> None:
    with pytest.raises(InvalidInputError, match=r"list\.txt names the folder") as raised:
        listed(f"a.jpg{separator}{entry}{separator}".encode())
    assert "command line" in raised.value.hint


def test_a_folder_of_a_list_is_the_one_that_it_names(work: Path) -> None:
    assert listed(b"sub\n") == NAMES[2:]
    assert len(ids(find_inputs(["."]))) == 5  # on the command line it is what its user wants


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  a.jpg \t", "a.jpg"),
        ('"b c.jpg"', "b c.jpg"),
        ("'b c.jpg' ", "b c.jpg"),
        ("sub\\caf\u00e9.jpg", "sub/caf\u00e9.jpg"),
        ('".\\sub\\caf\u00e9.jpg"', "sub/caf\u00e9.jpg"),
    ],
)
def test_a_line_is_read_as_people_write_it(work: Path, line: str, expected: str) -> None:
    assert listed(f"# the list\n\n{line}\r\n  \n #more\n".encode()) == [expected]


@pytest.mark.parametrize("name", [" a.jpg", "a.jpg ", '"a.jpg"', "#a.jpg", "sub\\a.jpg"])
def test_a_line_that_is_a_file_as_it_stands_is_that_file(work: Path, name: str) -> None:
    Path(name).write_bytes(b"")
    assert listed(name.encode() + b"\n") == [name]


def test_what_is_a_file_of_another_kind_is_named(work: Path) -> None:
    with zipfile.ZipFile("sheet.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(InvalidInputError, match="a spreadsheet, where a list of paths was expected"):
        find_inputs([], from_file="sheet.xlsx")
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for options in ({}, {"compression": "zstd", "use_dictionary": False}):
        parquet.write_table(pa.table({"path": ["a.jpg"]}), "t.parquet", **options)
        with pytest.raises(InvalidInputError, match="a Parquet table") as raised:
            find_inputs([], from_file="t.parquet")
        assert "--column" in raised.value.hint
    Path("PAR1.jpg").write_bytes(b"")
    assert listed(b"PAR1.jpg\n") == ["PAR1.jpg"]


# ---------------------------------------------------------------- tables


def test_a_table_that_is_taken_for_a_list_is_told(work: Path) -> None:
    Path("t.csv").write_text("path,label\na.jpg,1\n")
    with pytest.raises(NotFoundError) as raised:
        find_inputs([], from_file="t.csv")
    assert "--column" in raised.value.hint


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_column_of_a_table(work: Path, delimiter: str, encoding: str) -> None:
    rows = [["id", "path", "label"], ["1", '"sub/caf\u00e9.jpg"', '"a, b; c"'], ["2", '"b c.jpg"', ""], ["3", "", "x"]]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    Path("t.csv").write_text(text, encoding=encoding, newline="")
    assert ids(find_inputs([], from_file="t.csv", column="path")) == ["b c.jpg", "sub/caf\u00e9.jpg"]
    with pytest.raises(NotFoundError, match="no column 'file', but id, path, label"):
        find_inputs([], from_file="t.csv", column="file")
    with open("t.csv", "rb") as file:
        assert len(find_inputs([], from_file="-", column="path", stdin=file)) == 2


def test_a_column_of_a_parquet_table(work: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"n": [1, 2, 3], "path": ["a.jpg", None, "b c.jpg"]}), "t.parquet")
    assert ids(find_inputs([], from_file="t.parquet", column="path")) == ["a.jpg", "b c.jpg"]
    with pytest.raises(InvalidInputError, match="holds 1, which is not a path"):
        find_inputs([], from_file="t.parquet", column="n")
    with pytest.raises(NotFoundError, match="no column 'x', but n, path"):
        find_inputs([], from_file="t.parquet", column="x")
    Path("t.parquet").write_bytes(Path("t.parquet").read_bytes()[:-9])
    with pytest.raises(InvalidInputError, match="could not be read as Parquet"):
        find_inputs([], from_file="t.parquet", column="path")


@pytest.mark.parametrize("content", [b"path\n\xff\xfe.jpg\n", b"path\n" + b"x" * 3_000_000, b"path\na\0b\n"])
def test_what_is_no_table_is_refused(work: Path, content: bytes) -> None:
    Path("t.csv").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"t\.csv"):
        find_inputs([], from_file="t.csv", column="path")


def test_a_column_needs_a_table(work: Path) -> None:
    with pytest.raises(UsageError, match="table"):
        find_inputs(["a.jpg"], column="path")


# ---------------------------------------------------------------- braces, relative names, what is passed over


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s-{008..011}.tar", ["s-008.tar", "s-009.tar", "s-010.tar", "s-011.tar"]),
        ("{9..11}", ["9", "10", "11"]),
        ("{2..1}{a,b,}", ["2a", "2b", "2", "1a", "1b", "1"]),
        ("{a}.{x..y}", ["{a}.{x..y}"]),
        ("plain", ["plain"]),
    ],
)
def test_braces_stand_for_what_they_do_in_a_shell(text: str, expected: list[str]) -> None:
    assert sorted(expand_braces(text)) == sorted(expected)


def test_each_name_that_braces_give_must_be_there(work: Path) -> None:
    assert ids(find_inputs(["{a,b c}.jpg"])) == ["a.jpg", "b c.jpg"]
    assert ids(find_inputs(["{sub,other}/*.jpg"])) == ["other/never_named.jpg", *NAMES[2:]]
    with pytest.raises(NotFoundError, match=r"'z\.jpg'"):
        find_inputs(["{a,z}.jpg"])
    Path("{a,z}.jpg").write_bytes(b"")
    assert ids(find_inputs(["{a,z}.jpg"])) == ["{a,z}.jpg"]


def test_inputs_are_named_from_a_folder_wherever_it_lies(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_inputs(["sub", str(work / "a.jpg")], relative_to=".")
    assert ids(found) == ["a.jpg", *NAMES[2:]]
    assert all(os.path.exists(item.path) for item in found)
    (work / "moved").mkdir()
    for name in ("sub", "a.jpg"):
        os.rename(work / name, work / "moved" / name)
    monkeypatch.chdir("/")
    moved = find_inputs([str(work / "moved")], relative_to=work / "moved")
    assert ids(moved) == ids(found)
    assert moved.sha256 == found.sha256
    assert moved[1:].sha256 == found[1:].sha256
    with pytest.raises(UsageError, match="not below"):
        find_inputs([str(work / "other")], relative_to=work / "moved")


def test_what_is_passed_over_is_counted_by_ending(work: Path) -> None:
    from collections import Counter

    from zoo.core.images.inputs.selection import describe_passed_over

    for name in ("1.txt", "2.TXT", "sub/3.txt", "4.xyz", "noext", "README.md", ".hidden", "5.jfif"):
        Path(name).write_bytes(b"")
    passed_over = Counter[str]()
    assert "5.jfif" in ids(find_inputs(["."], passed_over=passed_over))
    assert passed_over == {".txt": 3, ".xyz": 1, "without an ending": 1}
    said = describe_passed_over(passed_over)
    assert said == "5 files were passed over: 3 .txt, 1 .xyz, 1 without an ending."
    for number in range(3000):
        Path(f"sub/x.{number}").write_bytes(b"")
    passed_over.clear()
    find_inputs(["."], passed_over=passed_over)
    assert sum(passed_over.values()) == 3005
    assert len(passed_over) < 1100
