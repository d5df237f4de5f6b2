"""Run work on another thread while the caller continues. Standard library only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def in_background(work: Callable[[Callable[[], bool]], object]) -> Iterator[Callable[[], None]]:
    """Run `work` on another thread during the block, and wait for it at the end of the block.

    Yields a function that waits earlier. Exceptions of `work` are raised where it is waited for. If the block itself
    fails or the wait is interrupted, `work` is told to stop and waited for, so that it never outlives its data. Only
    work that releases the interpreter (copying in the kernel, hashing) gains from it.

    Args:
        work: called with a function that says whether to stop; it must ask every few megabytes.
    """
    stopped = threading.Event()
    failures: list[BaseException] = []

    def attempt() -> None:
        try:
            work(stopped.is_set)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=attempt)

    def wait() -> None:
        thread.join()
        if failures:
            raise failures[0]

    thread.start()
    try:
        yield wait
        wait()
    finally:
        stopped.set()
        thread.join()
