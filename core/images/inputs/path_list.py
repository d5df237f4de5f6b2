"""Lists of paths, as `find`, `ls`, PowerShell and spreadsheets write them. Standard library only."""

from __future__ import annotations

import codecs
import os
import re
import shlex
from collections.abc import Callable, Iterator
from typing import BinaryIO

from zoo.core.errors import InvalidInputError

_BLOCK = 1 << 16
_MAX_PATH = 1 << 16  # sixteen times what Linux takes
# The mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# How a first page and a first entry begin; a file may be called PAR1.jpg.
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
    """The paths in a list, in its order, decoded as file names are: one a line, or separated by NUL.

    The encoding is told by the byte order mark (UTF-8, UTF-16, UTF-32), and is UTF-8 without one. NUL separates where
    one is found within the first 64 KiB; names between NULs are taken as they are, whatever their bytes. Lines are
    names as they are too, where a file is there that is called so. Else a line is read as people write it: blank ones
    and comments (`#`) are passed over, and spaces and quotes around a name, the carriage return that Windows leaves at
    the end, and backslashes instead of slashes are no part of it.

    Args:
        file: the list, read once from where it stands.
        name: what errors call it.

    Raises:
        InvalidInputError: it cannot be read, is in no encoding that is known, or is no list.
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
    """What a file of text holds, as UTF-8 whatever its byte order mark says, block by block; the mark is left out.

    Raises InvalidInputError where it cannot be read or decoded.
    """
    return iter(_as_utf8(file, name), b"")


def _as_utf8(file: BinaryIO, name: str) -> Callable[[], bytes]:
    """A function that gives the next bytes, empty at the end."""
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
    """What a line names, empty for none. Only a line that may mean something else needs a look at the disk."""
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
    """What converts a file of text, as a person would type it."""
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
