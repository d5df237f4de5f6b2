"""Search folders without holding their content in memory. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.selection import Selection


def files_below(folder: str, selection: Selection) -> Iterator[str]:
    """Paths of the files in a folder and its subfolders that a selection takes.

    Hidden files and folders are skipped, as are files written by exports. Links to files count, and so do broken links,
    which fail when they are read. Links to folders are counted but not followed, so no loop is possible. The order is
    the file system's. Raises InvalidInputError if a folder cannot be read.
    """
    folders = [folder]
    while folders:
        parent = folders.pop()
        for entry in visible_entries(parent):
            path = join(parent, entry.name)
            if path in selection.exported:
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif entry.is_symlink() and os.path.isdir(path):
                selection.pass_over_link()
            elif _is_file(entry) and selection.takes(entry.name):
                yield path


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:  # a link that cannot be followed
        return True


def visible_entries(folder: str, *, hidden: bool = False) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder; with `hidden`, including hidden ones. Raises InvalidInputError if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if hidden or not entry.name.startswith("."):
                    yield entry
    except OSError as error:
        raise InvalidInputError(f"The folder {folder!r} could not be read: {error.strerror}.", path=folder) from error


def join(folder: str, name: str) -> str:
    """The path of a name in a folder, as `Path` writes it: without a prefix for a name in `.`."""
    if folder == ".":
        return name
    return folder + name if folder.endswith("/") else f"{folder}/{name}"
