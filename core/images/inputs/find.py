"""Find the inputs: files, folders, patterns, lists and archives. Standard library only.

Only the folders still to be searched are held in memory, so a million files cost as much as one.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from zoo.core.errors import InvalidInputError, NotFoundError, UsageError
from zoo.core.images.inputs import selection
from zoo.core.images.inputs.archive import ARCHIVES, archive_members
from zoo.core.images.inputs.exported_files import ExportedFiles
from zoo.core.images.inputs.folder import files_below, join
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.inputs.input_list import InputList
from zoo.core.images.inputs.path_list import STDIN_NAME, read_path_list
from zoo.core.images.inputs.path_pattern import expand_braces, is_pattern, paths_matching
from zoo.core.images.inputs.path_table import read_path_column
from zoo.core.images.inputs.selection import Selection, describe_passed_over

EXTENSIONS = selection.EXTENSIONS

_STDIN = "-"
_TABLES = (".csv", ".tab", ".tsv")


def find_inputs(
    paths: Sequence[str | Path],
    *,
    from_file: str | Path | None = None,
    column: str = "",
    relative_to: str | Path | None = None,
    stdin: BinaryIO | None = None,
    extensions: tuple[str, ...] = EXTENSIONS,
    exported: ExportedFiles | None = None,
    passed_over: Counter[str] | None = None,
) -> InputList:
    """All named images, each once, sorted by id as text.

    Folders are searched recursively. Files in them count by extension; hidden files are skipped, links to folders are
    not followed, and files written by an export never count. A named file counts whatever its name, and an archive
    (`.tar`, `.tar.gz`, `.zip`) counts for its members. A name without a file is a pattern (`*`, `?`, `[...]`, `**` for
    folders at any depth, and braces: `{000..009}`, `{a,b}`). Names in a list are relative to the working directory and
    never patterns; a folder in a list must have a name: `.` and `/` are refused. A missing file in a list is still an
    input, which fails when it is read, unless all files of the list are missing.

    Args:
        paths: files, folders, archives, patterns; `-` reads a list from standard input.
        from_file: a list of paths, one per line, or separated by NUL as from `find -print0`; `-` is standard input.
        column: name of the column with the paths, if `from_file` is a CSV or Parquet table.
        relative_to: a folder that contains all inputs; ids, and sources in a manifest, are relative to it.
        stdin: standard input, if not the process's own.
        extensions: in lower case.
        exported: files of exports, which are left out.
        passed_over: counts the files in folders and archives that are not images, by their ending.

    Raises:
        NotFoundError: a path does not exist, or there is no image at all.
        InvalidInputError: a path is neither a file nor a folder; a list or an archive is damaged; a list names a folder
            without a name.
        UsageError: a path is empty, standard input is named twice, or an input is not below `relative_to`.
        CannotWriteError: the temporary folder has no room for the list.
    """
    given = [os.fspath(path) for path in paths]
    if "" in given:
        raise UsageError("A path is empty.", hint="Pass . for the working directory.")
    if column and from_file is None:
        raise UsageError(
            "--column names a column of a table, and no table was given.", hint="Name the table: --from-file TABLE.csv"
        )
    named = [_tidy(path) for path in given if path != _STDIN]
    lists = [(_STDIN, "")] * (len(given) - len(named))
    lists += [] if from_file is None else [(os.fspath(from_file), column)]
    if [path for path, _ in lists].count(_STDIN) > 1:
        raise UsageError("Standard input (-) is named twice.", hint="Name it once.")
    search = Selection(extensions, exported, passed_over)
    root = "" if relative_to is None else os.path.abspath(relative_to)
    if not lists and len(named) == 1 and not root and os.path.isdir(named[0]):
        items = _below(named[0], search)
    else:
        items = _all(named, lists, stdin, search)
    inputs = InputList.sorted_by_id((_below_root(item, root) for item in items) if root else items, root)
    if not inputs:
        said = describe_passed_over(search.passed_over)
        raise NotFoundError(
            f"No image was found in {_some([*named, *(path for path, _ in lists)])}.{f' {said}' if said else ''}",
            hint=f"Images are files that end in {', '.join(extensions)}; archives must be named: 'shards/*.tar'.",
        )
    return inputs


def _below(folder: str, search: Selection) -> Iterator[ImageInput]:
    """The files in the only folder, with ids relative to it."""
    prefix = len(join(folder, ""))
    for path in files_below(folder, search):
        yield ImageInput(path[prefix:], path)


def _below_root(item: ImageInput, root: str) -> ImageInput:
    """An input with its id relative to the root folder."""
    path = os.path.abspath(item.path)
    inside = path.removeprefix(join(root, ""))
    if inside == path:
        inside = os.path.realpath(path).removeprefix(join(os.path.realpath(root), ""))
        if inside.startswith("/"):
            raise UsageError(f"{item.path!r} is not below {root!r}.", hint="Name a folder above all inputs.")
        path = join(root, inside)
    return item._replace(id=f"{inside}/{item.member}" if item.member else inside, path=path)


def _all(
    paths: Iterable[str], lists: Iterable[tuple[str, str]], stdin: BinaryIO | None, search: Selection
) -> Iterator[ImageInput]:
    for path in paths:
        yield from _given(path, search)
    for path, column in lists:
        yield from _listed(path, column, stdin, search)


def _given(path: str, search: Selection) -> Iterator[ImageInput]:
    """The inputs that one argument stands for."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        for name in expand_braces(path):
            yield from _matching(name, path, search)
        return
    except OSError as error:
        raise InvalidInputError(f"{path!r} could not be read: {error.strerror}.", path=path) from error
    except ValueError:
        raise InvalidInputError(f"{path!r} contains a character that no file name may contain.", path=path) from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise InvalidInputError(f"{path!r} is neither a file nor a folder.", path=path)
    yield from _contents(path, stat.S_ISDIR(mode), search)


def _matching(pattern: str, given: str, search: Selection) -> Iterator[ImageInput]:
    """The inputs that match a pattern, or the file that a brace expansion names; `given` is the original argument."""
    matched = False
    if is_pattern(pattern):
        for path in paths_matching(pattern):
            matched = True
            yield from _contents(path, os.path.isdir(path), search)
    elif pattern != given and os.path.exists(pattern):
        matched = True
        yield from _contents(pattern, os.path.isdir(pattern), search)
    if not matched:
        what = "that matches" if is_pattern(pattern) else "or folder"
        raise NotFoundError(f"There is no file {what} {pattern!r}.", path=pattern)


def _listed(path: str, column: str, stdin: BinaryIO | None, search: Selection) -> Iterator[ImageInput]:
    """The inputs in a list. Only names that could be folders need a look at the disk."""
    name = STDIN_NAME if path == _STDIN else path
    some_named = some_there = False
    with _open_list(path, stdin) as file:
        for text in read_path_column(file, name, column) if column else read_path_list(file, name):
            some_named = True
            entry = _tidy(text)
            if not entry.replace("/", "").replace(".", ""):
                raise InvalidInputError(
                    f"{name} names the folder {text!r}, but a list must name files.",
                    hint="Name the folder on the command line; with find, -type f lists files only.",
                    path=name,
                )
            some_there = some_there or os.path.lexists(entry)
            is_folder = not entry.lower().endswith((*search.extensions, *ARCHIVES)) and os.path.isdir(entry)
            yield from _contents(entry, is_folder, search)
    if some_named and not some_there:
        table = not column and name.lower().endswith(_TABLES)
        raise NotFoundError(
            f"None of the files listed in {name} exists.",
            hint="Say which column of the table has the paths: --column NAME"
            if table
            else f"Paths are relative to the working directory, {os.getcwd()!r}.",
            path=name,
        )


def _contents(path: str, is_folder: bool, search: Selection) -> Iterable[ImageInput]:
    if path in search.exported:
        return ()
    if is_folder:
        return (ImageInput(below, below) for below in files_below(path, search))
    if path.lower().endswith(ARCHIVES):
        return (item for item in archive_members(path) if search.takes(item.member))
    return (ImageInput(path, path),)


def _tidy(path: str) -> str:
    """A path in one spelling, so that `./a//b.png` and `a/b.png` have the same id."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts) or "."


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(map(repr, paths[:3])) or "no path"
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"


def _open_list(path: str, stdin: BinaryIO | None) -> AbstractContextManager[BinaryIO]:
    if path == _STDIN:
        if stdin is None and sys.stdin is None:
            raise NotFoundError("Standard input is closed, but a list of paths was expected from it.")
        return nullcontext(stdin or sys.stdin.buffer)
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise NotFoundError(f"There is no list file {path!r}.", path=path) from None
    except OSError as error:
        raise InvalidInputError(f"The list {path!r} could not be read: {error.strerror}.", path=path) from error
