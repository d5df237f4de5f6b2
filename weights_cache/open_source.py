"""Open weights given by a path or a Hub repository; for a repository, fetch only the header."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.core.architectures.hub_names import FOLDER_PREFIX, HUB_PREFIXES
from zoo.core.files.open_weights import OpenedWeights, open_weights


@contextmanager
def open_source(source: str, *, key: str = "") -> Iterator[OpenedWeights]:
    """Open a path, `local-dir:folder` or `hf-hub:owner/repo` with `open_weights`; from the Hub, fetch only the header.

    Raises as `open_weights`, and NotFoundError if the Hub does not provide the file.
    """
    if source.startswith(HUB_PREFIXES):
        from zoo.weights_cache.remote_header import remote_header

        with remote_header(source.partition(":")[2]) as path, open_weights(path, key=key) as opened:
            yield opened
    else:
        with open_weights(Path(source.removeprefix(FOLDER_PREFIX)).expanduser(), key=key) as opened:
            yield opened
