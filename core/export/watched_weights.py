"""Weights that must stay as they are while features are computed with them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from weakref import finalize

from zoo.core.errors import InvalidInputError
from zoo.core.files.open_weights import open_weights


class WatchedWeights:
    """A weight file, or all of its shards, open, so that it can be told whether they are still what they were.

    A file that is replaced by a rename is no change: what has been read of the old one stays what it was.

    Args:
        path: as `open_weights` takes it.
        key: where in a training checkpoint the state dict is.

    Raises as `open_weights`.
    """

    def __init__(self, path: str | os.PathLike[str], key: str = "") -> None:
        self.path = os.fspath(path)
        resources = ExitStack()
        self._opened = resources.enter_context(open_weights(Path(path).expanduser(), key=key))
        finalize(self, resources.close)

    def sha256(self) -> str:
        """Digest of the file; of shards that of all of them."""
        return self._opened.sha256()

    def check(self) -> None:
        """Raises InvalidInputError where somebody has written to a file."""
        try:
            self._opened.require_unchanged()
        except InvalidInputError as error:
            raise InvalidInputError(
                f"The weights in {self.path!r} were written to while the export ran; what is computed from now on may "
                "be of others than config.json says.",
                hint="When the file is complete, run the command again with --force.",
                path=self.path,
            ) from error
