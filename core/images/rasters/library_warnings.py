"""Python warnings: ignore those of decoding libraries, which do not matter if the file can be read; issue zoo's."""

from __future__ import annotations

import re
import warnings

_told: set[str] = set()


def tell_once(message: str) -> None:
    """Warn once per process. Python's own rule forgets what it has shown whenever a library changes a filter."""
    if message not in _told:
        _told.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def ignore_warnings(module: str, *categories: type[Warning]) -> None:
    """Ignore these categories if a module raises them, in this process.

    An existing filter is not set again: Python would then forget which other warnings it has shown.

    Args:
        module: a regular expression for the module's name.
        categories: classes of warnings.
    """
    for category in categories:
        if ("ignore", None, category, re.compile(module), 0) not in warnings.filters:
            warnings.filterwarnings("ignore", category=category, module=module)
