"""Programs that a test starts, and that do not outlive it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

SECONDS = 60
"""How long a program may take to end by itself on a busy machine."""


@contextmanager
def started(command: Sequence[object], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a program for the length of a block. It has a minute to end after it, and is killed where the block failed.

    `subprocess.Popen` as a context would wait for the program for ever.
    """
    process = subprocess.Popen([str(word) for word in command], **options)
    try:
        yield process
        process.wait(SECONDS)
    finally:
        process.kill()
        with process:
            pass  # it closes the pipes


def read_terminal(master: int) -> bytes:
    """All that is written to a pseudo-terminal until no program has it open any more. It closes the given end."""
    written = b""
    with suppress(OSError), os.fdopen(master, "rb", buffering=0) as screen:  # Linux tells the end as an error
        while chunk := screen.read(65536):
            written += chunk
    return written
