"""Python warnings: those of libraries that decode, which concern nobody who can still read the file, and zoo's own."""

from __future__ import annotations

import re
import warnings

_told: set[str] = set()


def tell_once(message: str) -> None:
    """Warn of something once in a process. Python's own rule for that forgets whenever a library changes a filter."""
    if message not in _told:
        _told.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def ignore_warnings(module: str, *categories: type[Warning]) -> None:
    """Ignore these categories where a module raises them, in this process.

    A filter that is there is not set again: Python would then forget which other warnings it has shown.

    Args:
        module: a regular expression for the module's name.
        categories: classes of warnings.
    """
    for category in categories:
        if ("ignore", None, category, re.compile(module), 0) not in warnings.filters:
            warnings.filterwarnings("ignore", category=category, module=module)
