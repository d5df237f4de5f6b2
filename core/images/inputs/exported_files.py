"""Recognise files written by an export, by their names and config.json or by their content; they are never inputs.

Standard library only.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable

CONFIG = "config.json"
MANIFEST = "manifest.jsonl"
OWN_NAME = re.compile(
    r"features-\d{5,}(\.[\w.]+)?\.(safetensors|npy|parquet)|features\.zarr|config\.json|manifest(-\d{5,})?\.jsonl"
)

PREVIEW_MARK = ("Software", "zoo export-features --preview")
"""Keyword and text of the first chunk after a preview's header."""

_PNG = ".png"
_BEFORE_CHUNKS = 8 + 25
"""Bytes of a PNG's signature and header, which always come first."""
_MARK = b"tEXt" + "\0".join(PREVIEW_MARK).encode()
_MAX_CONFIG = 1 << 24
_MARKS = {"schema_version", "fingerprint", "images_per_shard"}


class ExportedFiles:
    """Recognises files that this or other exports wrote, to keep them out of the inputs.

    Args:
        others: paths of additional files to leave out, such as a preview; they need not exist.
    """

    def __init__(self, others: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._others = {os.path.realpath(path) for path in others}
        self._names = {os.path.basename(path) for path in self._others}
        self._exports: dict[str, bool] = {}

    def __contains__(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if name in self._names and os.path.realpath(path) in self._others:
            return True
        if name[-len(_PNG) :].lower() == _PNG:
            return is_preview(path)
        return OWN_NAME.fullmatch(name) is not None and self._is_export(folder)

    def _is_export(self, folder: str) -> bool:
        if folder not in self._exports:
            if len(self._exports) > 1000:
                self._exports.clear()
            self._exports[folder] = is_export(folder or ".")
        return self._exports[folder]


def is_export(folder: str) -> bool:
    """Whether a folder's config.json belongs to an export."""
    try:
        with open(os.path.join(folder, CONFIG), "rb", opener=_open_without_waiting) as file:
            config = json.loads(file.read(_MAX_CONFIG))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and config.keys() >= _MARKS


def is_preview(path: str) -> bool:
    """Whether a PNG is a preview written by an export, by its first chunk."""
    try:
        with open(path, "rb", buffering=0, opener=_open_without_waiting) as file:
            start = file.read(_BEFORE_CHUNKS + 4 + len(_MARK)) or b""
    except (OSError, ValueError):
        return False
    return start.startswith(b"\x89PNG\r\n\x1a\n") and start[_BEFORE_CHUNKS + 4 :] == _MARK


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a path without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
