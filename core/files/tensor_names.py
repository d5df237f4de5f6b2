"""Select tensor names with wildcards, and list them in sentences. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from zoo.core.errors import UsageError

UNNAMED_WEIGHT = "a weight without the name of a layer"
"""The kind of a tensor in a graph that is left out although it is large enough to be a parameter."""


def dropped_by(names: Iterable[str], patterns: Sequence[str], source: str, prefix: str = "") -> dict[str, str]:
    """The names that match a wildcard, each with its pattern.

    Args:
        names: names of all tensors in a file.
        patterns: shell wildcards: `*` matches anything, including dots.
        source: the file, for the message.
        prefix: prefix that will be removed from names; a pattern may omit it.

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
    """Why a tensor that matches the pattern is not in the output."""
    return f"its name matches {pattern}"


def first_names(names: Sequence[str], count: int = 3) -> str:
    """The first few names, separated by commas, and the number of the rest."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
