"""Record the state of an input when it is read, so that a later run notices changes. Standard library only.

The state is the file's size and time of last change, which costs one stat call, or a digest of its bytes. For a member
of an archive, size and time are the archive's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from zoo.core.errors import ZooError
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.inputs.open_input import open_input

_CHUNK = 1 << 20


class Stamp(NamedTuple):
    """Size of a file in bytes, and time of its last change in nanoseconds since 1970."""

    bytes: int
    mtime_ns: int


def stamp_of(item: ImageInput) -> Stamp | None:
    """The stamp of the input's file; None if there is no file."""
    try:
        info = os.stat(item.path)
    except (OSError, ValueError):
        return None
    return Stamp(info.st_size, info.st_mtime_ns)


def recorded_stamp(line: Mapping[str, Any]) -> Stamp | None:
    """The stamp in a line of a manifest; None if it has none."""
    size, time = line.get("bytes"), line.get("mtime_ns")
    return Stamp(size, time) if isinstance(size, int) and isinstance(time, int) else None


def sha256_of_stamps(stamps: Iterable[Stamp | None]) -> str:
    """A digest of stamps in order; empty if all are None."""
    digest, some = hashlib.sha256(), False
    for stamp in stamps:
        some = some or stamp is not None
        digest.update(b"-\n" if stamp is None else b"%d %d\n" % stamp)
    return digest.hexdigest() if some else ""


def sha256_of_input(item: ImageInput) -> str:
    """The sha256 of an input's bytes, in lower-case hex; for a window, that of the whole input.

    Raises as `open_input`, and OSError if the file is gone.
    """
    info = os.stat(item.path)
    # The windows of a file are consecutive, so caching helps. No program can set the ctime, so a change shows.
    version = (info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    return _sha256(item._replace(id="", window=None), version)


@lru_cache(maxsize=16)
def _sha256(item: ImageInput, _version: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    with open_input(item) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def has_changed(item: ImageInput, line: Mapping[str, Any], *, by_content: bool) -> bool:
    """Whether an input differs from its line in a manifest.

    A file that is gone counts as unchanged: the existing features are the best available.

    Args:
        line: a line of a manifest with stamps; a file that was missing then has no stamp.
        by_content: compare digests if the line has one; otherwise size and time.
    """
    stamp = stamp_of(item)
    if stamp is None:
        return False
    if by_content and "sha256" in line:
        try:
            return sha256_of_input(item) != str(line["sha256"])
        except (ZooError, OSError):
            return False
    return stamp != recorded_stamp(line)
