"""Weights that must not change while features are computed with them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from weakref import finalize

from zoo.core.errors import InvalidInputError
from zoo.core.files.open_weights import open_weights


class WatchedWeights:
    """A weight file, or all of its shards, kept open to detect changes.

    Replacing a file by a rename is not a change: the old file's content stays the same.

    Args:
        path: as in `open_weights`.
        key: path of the state dict in a training checkpoint.

    Raises as `open_weights`.
    """

    def __init__(self, path: str | os.PathLike[str], key: str = "") -> None:
        self.path = os.fspath(path)
        resources = ExitStack()
        self._opened = resources.enter_context(open_weights(Path(path).expanduser(), key=key))
        finalize(self, resources.close)

    def sha256(self) -> str:
        """Digest of the file, or of all shards."""
        return self._opened.sha256()

    def check(self) -> None:
        """Raise InvalidInputError if somebody has written to a file."""
        try:
            self._opened.require_unchanged()
        except InvalidInputError as error:
            raise InvalidInputError(
                f"The weights in {self.path!r} were written to while the export ran; what is computed from now on may "
                "be of others than config.json says.",
                hint="When the file is complete, run the command again with --force.",
                path=self.path,
            ) from error
