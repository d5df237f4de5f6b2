"""A file that must stay as it is while it is used. Standard library only."""

from __future__ import annotations

import os
from weakref import finalize

from zoo.core.errors import InvalidInputError


class WatchedFile:
    """A file, open, so that it can be told whether its content is still what it was.

    A file that is replaced by a rename is no change: what has been read of the old one stays what it was.

    Raises OSError where it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        finalize(self, os.close, self.fd)
        self._before = self._stamp()

    def _stamp(self) -> tuple[int, int]:
        info = os.fstat(self.fd)
        return info.st_size, info.st_mtime_ns

    def check(self) -> None:
        """Raises InvalidInputError where somebody has written to the file."""
        if self._stamp() != self._before:
            raise InvalidInputError(
                f"The weights in {self.path!r} were written to while the export ran; what is computed from now on may "
                "be of others than config.json says.",
                hint="When the file is complete, run the command again with --force.",
                path=self.path,
            )
