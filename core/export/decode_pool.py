"""Decode images ahead of the model, in threads or in processes that may crash or hang without harm.

A thread hands each item to its own process and waits for it, so order, look-ahead and errors are the same in both
modes. The process pool of `concurrent.futures` would lose every pending item with the first crash.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from zoo.core.errors import InvalidInputError, UsageError, ZooError

Item = TypeVar("Item")
T = TypeVar("T")

DECODING_THREADS = 4
START_SECONDS = 120
"""How long a process may take to start on a busy machine."""

AHEAD_BYTES = 1 << 29
"""The most memory for decoded items that wait."""
CLOSE_SECONDS = 2.0
"""How long to wait for threads that are still decoding items that nobody needs any more."""

_DECODER = "the process that decoded it"


def decode_ahead(
    items: Iterable[Item],
    decode: Callable[[Item], T],
    *,
    workers: int = 0,
    threads: int = DECODING_THREADS,
    ahead: int = 64,
    timeout: float = 300,
    size_of: Callable[[T], int] | None = None,
    ahead_bytes: int = AHEAD_BYTES,
) -> Generator[T | ZooError, None, None]:
    """Yield the result of `decode` for each item, in order, decoded while earlier results are in use.

    A process that dies (a decoder crashed, or the system killed it for lack of memory) or hangs is replaced; its item
    becomes an InvalidInputError with the reason. Close the generator if you do not read it to the end.

    Args:
        items: read only as far as `ahead` goes.
        decode: called with one item. A ZooError that it raises, or a lack of memory, is yielded instead of a result;
            any other exception is raised. For processes, `decode` and its results must be picklable.
        workers: number of decoding processes. Default 0: threads of this process, which cost least if libraries such as
            Pillow and numpy do the work and release the interpreter's lock.
        threads: the most threads that decode, if no processes do.
        ahead: the most decoded items that may wait.
        timeout: seconds after which a process counts as hanging; a thread cannot be stopped.
        size_of: bytes of a decoded item. It limits the number of waiting items so that they take at most `ahead_bytes`
            if all are as large as the largest so far, but to no fewer than one per thread.

    Raises:
        UsageError: invalid numbers, or a `decode` that cannot run in another process.
    """
    if workers < 0 or threads < 1 or ahead < 1 or timeout <= 0:
        raise UsageError(
            "Workers must be 0 or more, threads and the items ahead 1 or more and the timeout above 0; "
            f"found {workers}, {threads}, {ahead} and {timeout:g}."
        )
    processes = _Processes(decode, timeout) if workers else None
    decode_one = processes or (lambda item: _decoded(decode, item))
    num_threads = workers or min(threads, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(num_threads, "decode")
    waiting: deque[Future[T | ZooError]] = deque()
    remaining = iter(items)
    # Until one has been seen, none counts as small.
    allowed, largest = ahead if size_of is None else min(ahead, num_threads), 1
    try:
        waiting.extend(pool.submit(decode_one, item) for item in islice(remaining, allowed))
        while waiting:
            result = waiting[0].result()  # it stays in the list during the wait
            waiting.popleft()
            if size_of is not None and not isinstance(result, ZooError):
                largest = max(largest, size_of(result))
                allowed = min(ahead, max(num_threads, ahead_bytes // largest))
            yield result
            more = islice(remaining, max(0, allowed - len(waiting)))
            waiting.extend(pool.submit(decode_one, item) for item in more)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if processes is not None:
            processes.close()  # also ends the wait of a thread whose process hangs
        _, busy = wait([future for future in waiting if not future.cancelled()], CLOSE_SECONDS)
        if not busy:  # otherwise a decoder is inside a library and cannot be interrupted
            pool.shutdown()


def _decoded(decode: Callable[[Item], T], item: Item) -> T | ZooError:
    try:
        return decode(item)
    except ZooError as error:
        return error
    except MemoryError:
        return _failed(item, "there is not enough memory to decode it")


def _failed(item: Any, reason: str) -> InvalidInputError:
    source = str(getattr(item, "source", item))
    return InvalidInputError(f"{source}: {reason}.", path=source)


class _Processes:
    """One decoding process for each calling thread."""

    def __init__(self, decode: Callable[[Any], Any], timeout: float) -> None:
        self._decode = decode
        self._timeout = timeout
        # A fork server's processes are forked from a process that did nothing else, so no lock is held by a lost
        # thread.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["numpy", "PIL.Image"])
        self._mine = threading.local()
        self._lock = threading.Lock()  # starting and waiting for processes are not thread-safe
        self._running: set[_Process] = set()
        self._closed = False

    def __call__(self, item: Any) -> Any:
        process = self._process_of_this_thread()
        try:
            value, failure = process.ask(item, self._timeout)
        except TimeoutError:
            process.kill()
            self._end(process)
            return _failed(item, f"decoding took longer than {self._timeout:g} s")
        except (EOFError, OSError):
            return _failed(item, cause_of_death(_DECODER, self._end(process)))
        if failure:
            raise RuntimeError(f"Decoding {item} failed in a process:\n{failure}")
        return value

    def _process_of_this_thread(self) -> _Process:
        process: _Process | None = getattr(self._mine, "process", None)
        if process is not None:
            with self._lock:
                if process.is_alive():  # otherwise it died on its last item, or was killed while idle
                    return process
        self._mine.process = process = self._start()
        return process

    def _start(self) -> _Process:
        with self._lock:
            if self._closed:
                raise RuntimeError("The decoding processes are closed.")
            try:
                process = _Process(self._context, self._decode)
            except Exception as error:  # pickling raises different exceptions for different objects
                raise UsageError(f"Decoding cannot be handed to a process: {error}.") from error
            self._running.add(process)
        try:
            process.receive(START_SECONDS)
        except (EOFError, OSError) as error:  # includes TimeoutError
            code = self._end(process)
            raise UsageError(
                f"A decoding process could not be started ({cause_of_death(_DECODER, code)}).",
                hint="Decode in threads: --workers 0.",
            ) from error
        return process

    def _end(self, process: _Process) -> int | None:
        with self._lock:
            self._running.discard(process)
            return process.end()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for process in self._running:
                process.kill()
            for process in self._running:
                process.join()  # the thread that may be reading the pipe closes it
            self._running.clear()


class _Process:
    """A process that decodes one item at a time, and the pipe to it."""

    def __init__(self, context: Any, decode: Callable[[Any], Any]) -> None:
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, decode), daemon=True)
        try:
            self._process.start()
        finally:
            theirs.close()  # so that the death of the process closes the pipe

    def ask(self, item: Any, timeout: float) -> Any:
        """Return (value, "") or (None, traceback). Raises TimeoutError; EOFError or OSError if the process died."""
        self._pipe.send(item)
        return self.receive(timeout)

    def receive(self, timeout: float) -> Any:
        if not self._pipe.poll(timeout):
            raise TimeoutError
        return self._pipe.recv()

    def is_alive(self) -> bool:
        return not self._pipe.closed and bool(self._process.is_alive())

    def kill(self) -> None:
        self._process.kill()

    def join(self) -> int | None:
        """Stop the process whatever it does, and return its exit code, or that of an earlier death."""
        self._process.join(1)  # the pipe closes a moment before the process is gone
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code: int | None = self._process.exitcode
        return code

    def end(self) -> int | None:
        """Like `join`, and close the pipe."""
        code = self.join()
        self._pipe.close()
        return code


def _serve(pipe: Connection, decode: Callable[[Any], Any]) -> None:
    """The main function of a process: report that it is ready, then decode what it receives until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles ctrl-C and ends its processes
    threading.Thread(target=end_with_parent, daemon=True).start()
    warnings.showwarning = _tell
    try:
        pipe.send(None)
        while True:
            item = pipe.recv()
            try:
                pipe.send((_decoded(decode, item), ""))
            except Exception:
                pipe.send((None, traceback.format_exc()))
    except (EOFError, OSError):
        return  # the parent is gone


def _tell(message: Warning | str, *_details: Any, **_more: Any) -> None:
    """Print a warning for the user, since a process has no command line that would format it."""
    if sys.stderr is not None:
        sys.stderr.write(f"zoo: note: {' '.join(str(message).split())}\n")
        sys.stderr.flush()


def end_with_parent() -> None:
    """Exit when the parent dies: a killed parent cannot end a process that hangs."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def cause_of_death(process: str, code: int | None) -> str:
    """The words for the end of a process: `process` says which one it was, and `code` is its exit code."""
    if code is None or code >= 0:
        return f"{process} ended with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"{process} was ended by {name}" + (", often for lack of memory" if code == -signal.SIGKILL else "")
