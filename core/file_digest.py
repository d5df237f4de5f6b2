"""The digest of an open file. Standard library only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

_CHUNK = 1 << 22


def sha256_of(fd: int, stopped: Callable[[], bool] = lambda: False) -> str:
    """The sha256 of an open file, in lower-case hex; its position is left alone.

    `stopped` is asked every few megabytes; when it says so, the rest is left out and the digest is of no use.
    """
    digest, offset = hashlib.sha256(), 0
    while not stopped() and (chunk := os.pread(fd, _CHUNK, offset)):
        digest.update(chunk)
        offset += len(chunk)
    return digest.hexdigest()
