"""Turn what C libraries write to file descriptor 2 into notes: they bypass sys.stderr.

It goes to a file in memory, not to a pipe. A library that writes much while holding the interpreter's lock would wait
forever for a reader that needs the lock, and decoding processes, which inherit the descriptor, would keep a pipe open.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

_SECONDS = 0.5
_KEPT = 1 << 20  # bytes, before the file is emptied
_BLOCK = 1 << 16
_MOST_LINES = 200
_NOTE = "zoo: note: "
_STDERR = 2


class NativeStderr:
    """Replaces descriptor 2, until `close`, with a file whose lines are reported once each.

    `stream` is the original standard error, for zoo's own messages; None if it was not descriptor 2.

    Raises:
        OSError: there is no memory for the file, or descriptor 2 is closed.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: set[str] = set()
        self._rest = b""
        self._position = 0
        self._file = _file_in_memory()
        self._saved = os.dup(_STDERR)
        self.stream: TextIO | None = None
        if sys.stderr is not None and _descriptor(sys.stderr) == _STDERR:
            sys.stderr.flush()
            self.stream = open(self._saved, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        os.dup2(self._file, _STDERR)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="native stderr", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Restore the descriptor, and report what has not been reported."""
        os.dup2(self._saved, _STDERR)
        self._ended.set()
        self._thread.join()
        self._read()
        if self._rest:
            self._tell_line(self._rest)
        if self.stream is not None:
            with suppress(OSError):
                self.stream.close()
        os.close(self._saved)
        os.close(self._file)

    def _watch(self) -> None:
        while not self._ended.wait(_SECONDS):
            self._read()

    def _read(self) -> None:
        while data := os.pread(self._file, _BLOCK, self._position):
            self._position += len(data)
            *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
            self._rest = self._rest[-_BLOCK:]
            for line in lines:
                self._tell_line(line)
        if self._position > _KEPT:
            os.ftruncate(self._file, 0)  # a line written at this moment is lost
            self._position = 0

    def _tell_line(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace").strip().removeprefix(_NOTE)
        if text and text not in self._told and len(self._told) < _MOST_LINES:
            self._told.add(text)
            self._tell(text)


def _file_in_memory() -> int:
    import fcntl

    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("zoo-stderr", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor


def _descriptor(stream: TextIO) -> int:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return -1
