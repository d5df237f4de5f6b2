"""Fetch the header of a weight file on the Hub without the rest of the file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.files.safetensors_file import MAX_HEADER
from zoo.core.files.user_folders import hub_cache
from zoo.weights_cache.hub import hub_read
from zoo.weights_cache.locate import hub_file
from zoo.weights_cache.offline import is_offline
from zoo.weights_cache.time_limit import deadline, default_timeout

_FIRST = 1 << 16
"""Bytes of the first request: enough for the whole header of most networks."""

_LENGTH = 8


@contextmanager
def remote_header(hub_id: str) -> Iterator[Path]:
    """Yield a file with the header of a repository's safetensors file, padded with zeros to the full length.

    If the file is in the cache, that file is yielded without a request. All requests together take no longer than
    ZOO_TIMEOUT of the environment.

    Args:
        hub_id: `owner/name` or `owner/name@revision`.

    Raises:
        NotFoundError: the file is refused or absent, or the Hub cannot be reached.
        InvalidInputError: the repository has only a torch checkpoint, whose header cannot be read alone.
    """
    source = hub_file(hub_id)
    cached = source.cached()
    if cached is not None:
        yield cached
        return
    if is_offline():
        raise NotFoundError(
            f"{source.filenames[0]} of {source} is not in the cache {hub_cache()}, and zoo was told to stay offline.",
            hint="Run the command once with a network.",
        )
    until = deadline(default_timeout())
    part = hub_read(source, 0, _FIRST, until=until)
    if not part.filename.endswith(".safetensors"):
        raise InvalidInputError(
            f"{source} has {part.filename}, of which no part can be read alone, and no safetensors file.",
            hint=f"Download it (`hf download {hub_id} {part.filename}`) and name the file.",
        )
    length = _LENGTH + int.from_bytes(part.data[:_LENGTH], "little")
    data = part.data
    if len(data) < length <= min(part.size, _LENGTH + MAX_HEADER):
        data += hub_read(source, len(data), length - len(data), until=until).data
    with tempfile.TemporaryDirectory(prefix="zoo-header-") as folder:
        path = Path(folder, part.filename)
        path.write_bytes(data[:length])
        os.truncate(path, part.size)
        yield path
