"""The digest of an open file, and the part of a digest in a file's name. Standard library only."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable

_CHUNK = 1 << 22
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})(?:\.[a-z]+){1,2}$")


def hash_in_name(filename: str) -> str:
    """The sha256 prefix that torch.hub's naming puts before the extension (`resnet34-43635321.pth`), or ''."""
    found = _HASH_IN_NAME.search(filename)
    return found[1] if found else ""


def sha256_of(fd: int, stopped: Callable[[], bool] = lambda: False) -> str:
    """The sha256 of an open file, in lower-case hex; the file position does not change.

    `stopped` is asked every few megabytes; once it returns True, the rest is skipped and the digest is useless.
    """
    digest, offset = hashlib.sha256(), 0
    while not stopped() and (chunk := os.pread(fd, _CHUNK, offset)):
        digest.update(chunk)
        offset += len(chunk)
    return digest.hexdigest()
