"""Optional packages, imported where they are used; an error names a missing one with its extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zoo.core.errors import InvalidInputError


def import_extra(module: str, extra: str, purpose: str) -> Any:
    """Import an optional package.

    Args:
        module: the module to import, 'tifffile'.
        extra: the extra of zoo-cli that installs it, 'tiff'.
        purpose: what needs it, as the beginning of a sentence: 'Reading a multi-band TIFF'.

    Raises:
        InvalidInputError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise missing_extra(module.split(".")[0], extra, purpose) from error


def missing_extra(package: str, extra: str, purpose: str) -> InvalidInputError:
    return InvalidInputError(
        f"{purpose} needs {package}, which is not installed.", hint=f"Install it: pip install 'zoo-cli[{extra}]'"
    )


def has_package(module: str) -> bool:
    """Whether an optional package can be imported, without importing it."""
    import sys
    from importlib.util import find_spec

    if module in sys.modules:
        return sys.modules[module] is not None
    return find_spec(module) is not None
