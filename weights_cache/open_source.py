"""Weights that a person names, opened: a path, or a repository of the Hub, of which only the header is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.core.architectures.hub_names import FOLDER_PREFIX, HUB_PREFIXES
from zoo.core.files.open_weights import OpenedWeights, open_weights


@contextmanager
def open_source(source: str, *, key: str = "") -> Iterator[OpenedWeights]:
    """As `open_weights`, of a path, `local-dir:folder`, or `hf-hub:owner/repo`, of which only the header is fetched.

    Raises as `open_weights`, and NotFoundError where the Hub does not give it.
    """
    if source.startswith(HUB_PREFIXES):
        from zoo.weights_cache.remote_header import remote_header

        with remote_header(source.partition(":")[2]) as path, open_weights(path, key=key) as opened:
            yield opened
    else:
        with open_weights(Path(source.removeprefix(FOLDER_PREFIX)).expanduser(), key=key) as opened:
            yield opened
