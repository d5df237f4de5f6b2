"""Limit how long a download may take, even while the library that runs it is waiting."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.core.errors import UsageError

TIMEOUT_VARIABLE = "ZOO_TIMEOUT"
"""The environment variable for the seconds that the download of one file may take."""

STALL_SECONDS = 60.0
"""Most seconds without new data: longer than one retry of the Hub's client, shorter than a night."""

_TICK = 1.0
_PART_SUFFIXES = (".incomplete", ".tmp")


class TimeUp(BaseException):
    """A download took too long; its text gives the reason.

    Like KeyboardInterrupt, it is not an Exception: libraries would catch it and try again.
    """


def default_timeout() -> float | None:
    """Return the limit that the environment sets, in seconds, or None. Raises UsageError."""
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise UsageError(f"A timeout is a number of seconds above 0, found {text!r}.", hint="For example: 600")
    return seconds


def deadline(seconds: float | None) -> float | None:
    """Return the time on the monotonic clock after that many seconds, None for no limit."""
    return None if seconds is None else time.monotonic() + seconds


@contextmanager
def time_limit(until: float | None, folder: Path | None) -> Iterator[None]:
    """Interrupt the block at a `deadline`, or when the incomplete files in `folder` have stopped growing.

    Another process may be writing those files while this one waits for it. The limit works by the alarm signal. It has
    no effect in a thread other than the main one, or if the program uses that signal itself.

    Raises:
        TimeUp: the time is over; the files that the block opened are closed by then.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        yield
        return
    last_growth = time.monotonic()
    most = 0

    def look(_number: int, _frame: object) -> None:
        nonlocal last_growth, most
        now, size = time.monotonic(), _size_of_parts(folder)
        if size > most:
            most, last_growth = size, now
        if until is not None and now >= until:
            raise TimeUp("the time allowed is over")
        if now - last_growth >= STALL_SECONDS:
            raise TimeUp(f"nothing has arrived for {STALL_SECONDS:g} seconds")

    tick = _TICK if until is None else max(min(_TICK, (until - last_growth) / 4), 0.01)
    signal.signal(signal.SIGALRM, look)
    try:
        signal.setitimer(signal.ITIMER_REAL, tick, tick)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _size_of_parts(folder: Path | None) -> int:
    if folder is None:  # nothing is stored
        return 0
    try:
        with os.scandir(folder) as entries:
            parts = [entry for entry in entries if entry.name.endswith(_PART_SUFFIXES)]
            return sum(part.stat(follow_symlinks=False).st_size for part in parts)
    except OSError:
        return 0
