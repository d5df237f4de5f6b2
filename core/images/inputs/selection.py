"""Select the files in folders and archives that count as images, and count the others. Standard library only."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

from zoo.core.images.inputs.exported_files import ExportedFiles

EXTENSIONS = (
    ".avif", ".bmp", ".dcm", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".npy",
    ".npz", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Endings of images in folders and archives, in upper or lower case.

Some need an extra. Without it, such a file is not skipped: reading it fails and names the extra.
"""

_BESIDE_IMAGES = ("copying", "desktop.ini", "licence", "license", "readme", "thumbs.db")
"""Name beginnings of files that nobody would miss as an image."""

_MAX_ENDING = 9
_MAX_ENDINGS = 1000
_ENDINGS_TOLD = 6
_OTHERS = "others"
_LINKS = "links to folders"


class Selection:
    """Selects files when whole folders and archives are searched.

    Args:
        extensions: name endings of images, in lower case.
        exported: files of exports, which are left out.
        passed_over: counts the files left out, by name ending, except for hidden files and files of exports.
    """

    def __init__(
        self,
        extensions: tuple[str, ...] = EXTENSIONS,
        exported: ExportedFiles | None = None,
        passed_over: Counter[str] | None = None,
    ) -> None:
        self.extensions = extensions
        self.exported = ExportedFiles() if exported is None else exported
        self.passed_over = Counter[str]() if passed_over is None else passed_over

    def takes(self, name: str) -> bool:
        """Whether a file counts by its name; if not, it is counted as passed over."""
        if name.lower().endswith(self.extensions):
            return True
        if name.rpartition("/")[2].lower().startswith(_BESIDE_IMAGES):
            return False
        ending = os.path.splitext(name)[1].lower() or "without an ending"
        known = ending in self.passed_over or len(self.passed_over) < _MAX_ENDINGS
        fits = len(ending) <= _MAX_ENDING or not ending.startswith(".")
        self.passed_over[ending if known and fits else _OTHERS] += 1
        return False

    def pass_over_link(self) -> None:
        """Count a link to a folder, which is not followed."""
        self.passed_over[_LINKS] += 1


def describe_passed_over(passed_over: Mapping[str, int]) -> str:
    """Sentences with the number of files by ending, the most frequent first, and of links; empty if there are none."""
    links = passed_over.get(_LINKS, 0)
    files = {ending: count for ending, count in passed_over.items() if ending != _LINKS}
    said = [_describe_files(files)] if files else []
    if links:
        were = "link to a folder was" if links == 1 else "links to folders were"
        said.append(f"{links} {were} not followed.")
    return " ".join(said)


def _describe_files(passed_over: Mapping[str, int]) -> str:
    total = sum(passed_over.values())
    ordered = sorted(passed_over.items(), key=lambda item: (item[0] == _OTHERS, -item[1], item[0]))
    told = [f"{count} {ending}" for ending, count in ordered[:_ENDINGS_TOLD]]
    if rest := sum(count for _, count in ordered[_ENDINGS_TOLD:]):
        told.append(f"{rest} {_OTHERS}")
    were = "file was" if total == 1 else "files were"
    return f"{total} {were} passed over: {', '.join(told)}."
