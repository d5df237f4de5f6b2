"""Names of tensors: which of them wildcards choose, and how a sentence tells them. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from zoo.core.errors import UsageError


def dropped_by(names: Iterable[str], patterns: Sequence[str], source: str, prefix: str = "") -> dict[str, str]:
    """The names that wildcards match, each with the pattern that does.

    Args:
        names: of all tensors of a file.
        patterns: wildcards as those of a shell: `*` stands for anything, dots too.
        source: the file, for the message.
        prefix: taken from the names that have it; a pattern may leave it out.

    Raises UsageError for a pattern that matches nothing.
    """
    if not patterns:
        return {}
    found = {name: [pattern for pattern in patterns if _matches(name, pattern, prefix)] for name in names}
    for pattern in patterns:
        if not any(pattern in matching for matching in found.values()):
            raise UsageError(
                f"No tensor in {source} has a name that matches {pattern!r}.",
                hint=f"`zoo inspect {source}` shows the names.",
            )
    return {name: matching[0] for name, matching in found.items() if matching}


def _matches(name: str, pattern: str, prefix: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name.removeprefix(prefix), pattern)


def dropped_reason(pattern: str) -> str:
    """Why such a tensor is not in the output."""
    return f"its name matches {pattern}"


def first_names(names: Sequence[str], count: int = 3) -> str:
    """The first few with commas between them, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
