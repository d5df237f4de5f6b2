"""Expand file name patterns that no shell expanded, such as quoted ones. Standard library only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from zoo.core.images.inputs.folder import join, visible_entries

_BRACES = re.compile(r"\{(?:(\d{1,9})\.\.(\d{1,9})|([^{}]*,[^{}]*))\}")


def is_pattern(text: str) -> bool:
    """Whether the text contains a wildcard."""
    return any(sign in text for sign in "*?[")


def expand_braces(text: str) -> Iterator[str]:
    """The names that braces stand for, in order, as in a shell and in WebDataset: `{000..009}`, `{train,val}`.

    If one of the two ends has leading zeros, numbers are padded to the width of the longer end.
    """
    found = _BRACES.search(text)
    if found is None:
        yield text
        return
    before, after = text[: found.start()], text[found.end() :]
    for rest in expand_braces(after) if not found[3] else ():
        first, last = int(found[1]), int(found[2])
        width = max(map(len, found.group(1, 2))) if "0" in (found[1][0], found[2][0]) else 0
        for number in range(first, last + 1) if first <= last else range(first, last - 1, -1):
            yield f"{before}{number:0{width}}{rest}"
    for rest in expand_braces(after) if found[3] else ():
        yield from (before + word + rest for word in found[3].split(","))


def paths_matching(pattern: str) -> Iterator[str]:
    """Files and folders that match a pattern by shell rules; some may come twice.

    `*`, `?` and `[...]` match within a name, and hidden names only if the pattern has the dot. `**` stands for any
    number of folders, not for links to folders; at the end it is the folder itself. Raises InvalidInputError if a
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
