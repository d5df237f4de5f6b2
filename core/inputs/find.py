"""Finding what there is to read: files, folders, patterns, lists and archives. Standard library only.

Nothing is held in memory but the folders still to be searched, so a million files cost what one does.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from zoo.core.errors import InvalidInputError, NotFoundError, UsageError
from zoo.core.inputs.folder import files_below, join
from zoo.core.inputs.image_input import ImageInput
from zoo.core.inputs.input_list import InputList
from zoo.core.inputs.path_list import read_path_list
from zoo.core.inputs.path_pattern import is_pattern, paths_matching
from zoo.core.inputs.tar_archive import ARCHIVES, tar_members

EXTENSIONS = (
    ".avif", ".bmp", ".dcm", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpeg", ".jpg", ".jxl", ".npy", ".npz",
    ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""What counts as an image in a folder or an archive, upper or lower case."""

_STDIN = "-"


def find_inputs(
    paths: Sequence[str | Path],
    *,
    from_file: str | Path | None = None,
    stdin: BinaryIO | None = None,
    extensions: tuple[str, ...] = EXTENSIONS,
) -> InputList:
    """All images that are named, each once, sorted by id as text.

    In folders, searched recursively, files count by their extension; hidden ones are passed over and links to folders
    are not followed. A file that is named itself counts whatever it is called, and an archive (`.tar`) for its members.
    Where there is no file of a name, it is taken for a pattern (`*`, `?`, `[...]`, and `**` for folders at any depth).
    In a list, names are relative to the working directory and never patterns; a file in it that is not there is an
    input all the same, which fails when it is read, unless not one of the list is there.

    Args:
        paths: files, folders, archives, patterns; `-` reads a list from standard input.
        from_file: a list of paths, one a line, or separated by NUL as `find -print0` does; `-` is standard input.
        stdin: standard input, if it is not that of the process.
        extensions: in lower case.

    Raises:
        NotFoundError: a path does not exist, or there is no image at all.
        InvalidInputError: a path is neither a file nor a folder; a list or an archive is damaged.
        UsageError: a path is empty, or standard input is named twice.
        CannotWriteError: the temporary folder has no room for the list.
    """
    given = [os.fspath(path) for path in paths]
    if "" in given:
        raise UsageError("A path is empty.", hint="Pass . for the working directory.")
    named = [_tidy(path) for path in given if path != _STDIN]
    lists = [_STDIN] * (len(given) - len(named)) + ([] if from_file is None else [os.fspath(from_file)])
    if lists.count(_STDIN) > 1:
        raise UsageError("Standard input (-) is named twice.", hint="Name it once.")
    if not lists and len(named) == 1 and os.path.isdir(named[0]):
        items = _below(named[0], extensions)
    else:
        items = _all(named, lists, stdin, extensions)
    inputs = InputList.sorted_by_id(items)
    if not inputs:
        raise NotFoundError(
            f"No image was found in {_some([*named, *lists])}.",
            hint=f"Images are files ending in {', '.join(extensions)}; archives are named: 'shards/*.tar'.",
        )
    return inputs


def _below(folder: str, extensions: tuple[str, ...]) -> Iterator[ImageInput]:
    """The files of the only folder, named relative to it."""
    prefix = len(join(folder, ""))
    for path in files_below(folder, extensions):
        yield ImageInput(path[prefix:], path)


def _all(
    paths: Iterable[str], lists: Iterable[str], stdin: BinaryIO | None, extensions: tuple[str, ...]
) -> Iterator[ImageInput]:
    for path in paths:
        yield from _given(path, extensions)
    for path in lists:
        yield from _listed(path, stdin, extensions)


def _given(path: str, extensions: tuple[str, ...]) -> Iterator[ImageInput]:
    """What one argument stands for."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        yield from _matching(path, extensions)
        return
    except OSError as error:
        raise InvalidInputError(f"{path!r} could not be read: {error.strerror}.", path=path) from error
    except ValueError:
        raise InvalidInputError(f"{path!r} holds a character that no file name can.", path=path) from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise InvalidInputError(f"{path!r} is neither a file nor a folder.", path=path)
    yield from _contents(path, stat.S_ISDIR(mode), extensions)


def _matching(pattern: str, extensions: tuple[str, ...]) -> Iterator[ImageInput]:
    matched = False
    if is_pattern(pattern):
        for path in paths_matching(pattern):
            matched = True
            yield from _contents(path, os.path.isdir(path), extensions)
    if not matched:
        what = "that matches" if is_pattern(pattern) else "or folder"
        raise NotFoundError(f"There is no file {what} {pattern!r}.", path=pattern)


def _listed(path: str, stdin: BinaryIO | None, extensions: tuple[str, ...]) -> Iterator[ImageInput]:
    """What a list names. Only names that do not tell what they are need a look at the disk."""
    name = "standard input" if path == _STDIN else path
    some_named = some_there = False
    with _open_list(path, stdin) as file:
        for text in read_path_list(file, name):
            some_named = True
            entry = _tidy(text)
            some_there = some_there or os.path.lexists(entry)
            is_folder = not entry.lower().endswith((*extensions, *ARCHIVES)) and os.path.isdir(entry)
            yield from _contents(entry, is_folder, extensions)
    if some_named and not some_there:
        raise NotFoundError(
            f"Not one of the files in {name} is there.",
            hint=f"They are relative to the working directory, {os.getcwd()!r}.",
            path=name,
        )


def _contents(path: str, is_folder: bool, extensions: tuple[str, ...]) -> Iterable[ImageInput]:
    if is_folder:
        return (ImageInput(below, below) for below in files_below(path, extensions))
    if path.lower().endswith(ARCHIVES):
        return tar_members(path, extensions)
    return (ImageInput(path, path),)


def _tidy(path: str) -> str:
    """One spelling of a path, so that `./a//b.png` and `a/b.png` have one id."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts) or "."


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(map(repr, paths[:3])) or "no path"
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"


def _open_list(path: str, stdin: BinaryIO | None) -> AbstractContextManager[BinaryIO]:
    if path == _STDIN:
        if stdin is None and sys.stdin is None:
            raise NotFoundError("Standard input is closed, where a list of paths was expected.")
        return nullcontext(stdin or sys.stdin.buffer)
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise NotFoundError(f"There is no list {path!r}.", path=path) from None
    except OSError as error:
        raise InvalidInputError(f"The list {path!r} could not be read: {error.strerror}.", path=path) from error
