"""Read a column of paths from a table: CSV with any delimiter, or Parquet (extra `[parquet]`, imported when needed)."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.extras import import_extra
from zoo.core.images.inputs.path_list import STDIN_NAME, decoded_blocks, iconv_command

_PARQUET = b"PAR1"
_DELIMITERS = ",;\t|"
_BATCH = 8192
_COLUMNS_TOLD = 8
_MAX_LINE = 1 << 20


def read_path_column(file: BinaryIO, name: str, column: str) -> Iterator[str]:
    """The paths in a column of a table, in order; empty cells are skipped.

    A file that begins like Parquet is read as Parquet, any other as CSV. The first line of CSV has the column names.
    Its delimiter (comma, semicolon, tab or bar) is the one that yields the column in that line. The byte order mark
    gives its encoding, which is UTF-8 without one.

    Args:
        file: the table, read once from its current position.
        name: the table's name in errors.
        column: the name of the column.

    Raises:
        NotFoundError: there is no such column.
        InvalidInputError: the table cannot be read, or pyarrow is not installed.
    """
    return (text for (text,) in read_table_columns(file, name, (column,)) if text)


def read_table_columns(file: BinaryIO, name: str, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The cells of each row in some columns of a table, empty where there is none; otherwise as `read_path_column`."""
    if file.seekable() and name != STDIN_NAME:
        start = file.read(len(_PARQUET))
        file.seek(0)
        if start == _PARQUET:
            yield from _parquet(file, name, columns)
            return
    yield from _csv(file, name, columns)


def _csv(file: BinaryIO, name: str, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    lines = _lines(decoded_blocks(file, name), name)
    header = next(lines, "")
    found = (cells for d in _DELIMITERS if columns[0] in (cells := _cells(header, d)))
    likely = max((_cells(header, delimiter) for delimiter in _DELIMITERS), key=len)
    head = next(found, likely)
    for column in columns:
        if column not in head:
            raise _no_column(name, column, head)
    delimiter = next(d for d in _DELIMITERS if _cells(header, d) == head)
    positions = [head.index(column) for column in columns]
    try:
        for row in csv.reader(lines, delimiter=delimiter):
            yield tuple(row[position].strip() if position < len(row) else "" for position in positions)
    except csv.Error as error:
        raise InvalidInputError(f"{name} is not a table of text: {error}.", path=name) from error


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _lines(blocks: Iterable[bytes], name: str) -> Iterator[str]:
    """Lines with their newlines, which csv needs since a cell may contain them."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest = ""
    try:
        for block in _with_end(blocks):
            text = rest + decoder.decode(block, final=not block)
            if "\0" in text:
                raise InvalidInputError(f"{name} contains a NUL, so it is not a table of text.", path=name)
            *whole, rest = text.split("\n")
            yield from (line + "\n" for line in whole)
            if len(rest) > _MAX_LINE:
                raise InvalidInputError(
                    f"{name} contains a line longer than 1 MiB, so it is not a table of text.", path=name
                )
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{name} is not UTF-8: {error.reason}.",
            hint=f"Convert the table from its own encoding, for example: {iconv_command('WINDOWS-1252', name)}",
            path=name,
        ) from error
    if rest:
        yield rest


def _with_end(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from blocks
    yield b""


def _parquet(file: BinaryIO, name: str, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    parquet = import_extra("pyarrow.parquet", "parquet", "Reading a Parquet table")
    try:
        table = parquet.ParquetFile(file)
        for column in columns:
            if column not in table.schema_arrow.names:
                raise _no_column(name, column, table.schema_arrow.names)
        for batch in table.iter_batches(_BATCH, columns=list(columns)):
            cells = [batch.column(column).to_pylist() for column in columns]
            for row in zip(*cells, strict=True):
                path, *others = zip(row, columns, strict=True)
                yield _cell(*path, name), *(_cell(*cell, name, number=True) for cell in others)
    except (NotFoundError, InvalidInputError):
        raise
    except Exception as error:  # pyarrow raises many kinds, some of them plain OSError
        raise InvalidInputError(f"{name} could not be read as Parquet: {error}.", path=name) from error


def _cell(value: object, column: str, name: str, *, number: bool = False) -> str:
    """A cell of a Parquet table as text; a path is text, anything else may be a whole number too."""
    if value is None:
        return ""
    if isinstance(value, str) or (number and isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    what = "neither a text nor a whole number" if number else "not a path"
    raise InvalidInputError(f"The column {column!r} of {name} holds {value!r}, which is {what}.", path=name)


def _no_column(name: str, column: str, columns: list[str]) -> NotFoundError:
    told = ", ".join(columns[:_COLUMNS_TOLD]) + (", ..." if len(columns) > _COLUMNS_TOLD else "")
    return NotFoundError(f"{name} has no column {column!r}, but {told or 'none at all'}.", path=name)
