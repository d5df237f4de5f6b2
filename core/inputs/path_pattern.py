"""File name patterns that no shell expanded, quoted ones for example. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator

from zoo.core.inputs.folder import join, visible_entries


def is_pattern(text: str) -> bool:
    """Whether it holds a character that stands for others."""
    return any(sign in text for sign in "*?[")


def paths_matching(pattern: str) -> Iterator[str]:
    """Files and folders that a pattern names, by the rules of the shell; some may come twice.

    `*`, `?` and `[...]` match within a name, and hidden names only where the pattern shows the dot. `**` stands for any
    number of folders, not for links to folders; at the end it is the folder itself. Raises InvalidInputError where a
    folder cannot be read.
    """
    from fnmatch import fnmatchcase

    parts = [part for part in pattern.split("/") if part]
    while parts and parts[-1] == "**":
        parts.pop()
    todo = [("/" if pattern.startswith("/") else ".", parts)]
    while todo:
        folder, parts = todo.pop()
        if not parts:
            yield folder
            continue
        part, rest = parts[0], parts[1:]
        if part == "**":
            todo.append((folder, rest))
            folders = (entry.name for entry in visible_entries(folder) if entry.is_dir(follow_symlinks=False))
            todo.extend((join(folder, name), parts) for name in folders)
        elif not is_pattern(part):
            path = join(folder, part)
            if os.path.isdir(path) if rest else os.path.lexists(path):
                todo.append((path, rest))
        else:
            for entry in visible_entries(folder, hidden=part.startswith(".")):
                if not fnmatchcase(entry.name, part):
                    continue
                path = join(folder, entry.name)
                if not rest:
                    yield path
                elif os.path.isdir(path):
                    todo.append((path, rest))
