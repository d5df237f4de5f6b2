"""Read lists of paths, as written by `find`, `ls`, PowerShell and spreadsheets. Standard library only."""

from __future__ import annotations

import codecs
import os
import re
import shlex
from collections.abc import Callable, Iterator
from typing import BinaryIO

from zoo.core.errors import InvalidInputError

_BLOCK = 1 << 16
_MAX_PATH = 1 << 16  # sixteen times the limit of Linux
# UTF-32 comes first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# The first bytes of a Parquet page and of a zip entry; a listed file may be called PAR1.jpg.
_NO_LISTS = (
    (rb"PAR1\x15[\x00-\x1f]", "a Parquet table", "Say which column has the paths: --column NAME"),
    (
        rb"PK\x03\x04[\n-?]\x00",
        "a zip archive or a spreadsheet",
        "Pass an archive as an input, a spreadsheet as CSV.",
    ),
)
STDIN_NAME = "standard input"


def read_path_list(file: BinaryIO, name: str) -> Iterator[str]:
    """The paths in a list, in order, decoded like file names: one per line, or separated by NUL.

    The byte order mark gives the encoding (UTF-8, UTF-16, UTF-32), which is UTF-8 without one. NUL is the separator if
    one occurs in the first 64 KiB; names between NULs are used as they are, whatever their bytes. A line is used as it
    is if a file has that name. Otherwise, blank lines and comments (`#`) are skipped, spaces, quotes and the carriage
    return of Windows are removed around a name, and backslashes become slashes.

    Args:
        file: the list, read once from its current position.
        name: the list's name in errors.

    Raises:
        InvalidInputError: it cannot be read, is in an unknown encoding, or is not a list.
    """
    read = _as_utf8(file, name)
    start = read()
    for beginning, kind, hint in _NO_LISTS:
        if re.match(beginning, start):
            raise InvalidInputError(f"{name} is {kind}, where a list of paths was expected.", hint=hint, path=name)
    if b"\0" in start:
        if {b"\n", b"\r"} & set(start.split(b"\0")):
            raise _unmarked_utf16(name)
        for record in _split(read, name, start, b"\0"):
            if record.strip():
                yield os.fsdecode(record)
        return
    for number, record in enumerate(_split(read, name, start, b"\n"), start=1):
        if b"\0" in record:
            raise InvalidInputError(
                f"{name} contains a NUL after 64 KiB of lines, so it is not a list of paths.", path=name
            )
        line = os.fsdecode(record.removesuffix(b"\r"))
        if not line.isprintable() and not _is_utf8(record) and not os.path.lexists(line):
            raise InvalidInputError(
                f"Line {number} of {name} is not UTF-8, and no file has those bytes as its name.",
                hint=f"Convert the list from its own encoding, for example: {iconv_command('WINDOWS-1252', name)}",
                path=name,
            )
        if path := _path_in(line):
            yield path


def decoded_blocks(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The content of a text file as UTF-8, block by block, decoded by its byte order mark, which is left out.

    Raises InvalidInputError if it cannot be read or decoded.
    """
    return iter(_as_utf8(file, name), b"")


def _as_utf8(file: BinaryIO, name: str) -> Callable[[], bytes]:
    """A function that returns the next bytes, and empty bytes at the end."""
    start = _read(file, name)
    mark, encoding = next(((m, e) for m, e in _MARKS if start.startswith(m)), (b"", "utf-8"))
    pending = [start.removeprefix(mark)]
    if encoding == "utf-8":
        return lambda: pending.pop() if pending else _read(file, name)
    decoder = codecs.getincrementaldecoder(encoding)()

    def read() -> bytes:
        text = ""
        try:
            while not text:
                block = pending.pop() if pending else _read(file, name)
                text = decoder.decode(block, final=not block)
                if not block:
                    break
        except UnicodeDecodeError as error:
            raise InvalidInputError(
                f"{name} begins with the byte-order mark of {encoding[:6].upper()}, but is not valid in it: "
                f"{error.reason}.",
                path=name,
            ) from error
        return text.encode()

    return read


def _path_in(line: str) -> str:
    """The path in a line, or empty. Only an ambiguous line needs a look at the disk."""
    bare = line.strip()
    if not bare or (bare == line and bare[0] not in "#\"'" and "\\" not in bare) or os.path.lexists(line):
        return line if bare else ""
    if bare[0] == "#":
        return ""
    unquoted = bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'" else bare
    spellings = (bare, unquoted, unquoted.replace("\\", "/"))
    return next((spelling for spelling in spellings if os.path.lexists(spelling)), line)


def _is_utf8(record: bytes) -> bool:
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unmarked_utf16(name: str) -> InvalidInputError:
    return InvalidInputError(
        f"{name} looks like UTF-16 without a byte order mark, where UTF-8 was expected.",
        hint=f"Convert it: {iconv_command('UTF-16LE', name)}",
        path=name,
    )


def iconv_command(encoding: str, name: str) -> str:
    """The command that converts a text file, as a user would type it."""
    if name == STDIN_NAME:
        return f"... | iconv -f {encoding} -t UTF-8 | zoo ..."
    return f"iconv -f {encoding} -t UTF-8 {shlex.quote(name)} > {shlex.quote(name + '.utf8')}"


def _split(read: Callable[[], bytes], name: str, start: bytes, separator: bytes) -> Iterator[bytes]:
    block, rest = start, b""
    while block:
        *records, rest = (rest + block).split(separator)
        yield from records
        if len(rest) > _MAX_PATH:
            raise InvalidInputError(
                f"{name} contains a line longer than any path, so it is not a list of paths.", path=name
            )
        block = read()
    yield rest


def _read(file: BinaryIO, name: str) -> bytes:
    try:
        return file.read(_BLOCK)
    except OSError as error:
        raise InvalidInputError(f"{name} could not be read: {error.strerror}.", path=name) from error
