"""Compute the shards of an export on several devices of this machine: the same files, by one process for each device.

A process opens the request with its device, which builds its model, and then publishes shards itself. It asks for a
shard when its decoding comes to one, so a faster device computes more of them. This process computes nothing: it hands
out the shards, counts what is done, and ends all processes when one of them fails.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, NoReturn, Protocol

from zoo.core.errors import PartialError, UsageError, ZooError
from zoo.core.export.decode_pool import cause_of_death, end_with_parent
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.shard_worker import Request, ShardWorker

CLOSE_SECONDS = 2.0
"""How long processes may take to end by themselves. The command line gives the whole run a second more."""


class DeviceRequest(Protocol):
    """A request that can be sent to a process and be given a device there, such as `ExportRequest`."""

    def for_this_process(self, device: str, threads: int) -> Request:
        """The same request on this device, in a process that computes and decodes in at most so many threads each."""


class _Work(NamedTuple):
    """What a process is told when it starts."""

    request: DeviceRequest
    device: str
    threads: int
    out_dir: str
    fingerprint: str
    on_error: str


class _Asks(NamedTuple):
    """A process asks for its next shard."""


class _Advanced(NamedTuple):
    """A process has computed inputs."""

    inputs: int


class _Warns(NamedTuple):
    """A process has something to say to the user."""

    text: str


class _Ended(NamedTuple):
    """A process has no more to do, or has failed. `changed` says whether it has written any file."""

    error: Exception | None
    changed: bool = False


def run_on_devices(
    request: DeviceRequest,
    folder: FeatureFolder,
    shards: Iterable[int],
    *,
    devices: Sequence[str],
    on_error: str = "skip",
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Compute shards in a process for each device. Published shards stay, however the run ends.

    Let go of the request's own job before, or this process keeps a model too.

    Args:
        request: opened by each process.
        folder: claimed for the request's plan.
        shards: their numbers, e.g. from `pending_shards`. No more processes are started than there are shards.
        devices: e.g. from `find_devices`.
        on_error, on_progress: see `run_shards`.

    Raises:
        UsageError: no device, or a process finds another plan.
        PartialError: a process died.
        Exception: what the first process that failed has raised, e.g. an InvalidInputError for an image, with `stop`.
    """
    if not devices:
        raise UsageError("An export needs at least 1 device, found none.")
    numbers = list(shards)
    if not numbers:
        return
    _give_back_memory()
    folder.reopen()
    devices = devices[: len(numbers)]
    threads = max(1, _cores() // len(devices))
    works = [
        _Work(request, device, threads, str(folder.path.absolute()), folder.plan.fingerprint, on_error)
        for device in devices
    ]
    remaining = iter(numbers)
    warned: set[str] = set()
    with _started(works) as processes:
        while processes:
            for pipe in wait(list(processes)):
                assert isinstance(pipe, Connection)
                process = processes[pipe]
                message = process.receive()
                if isinstance(message, _Asks):
                    process.send(next(remaining, None))
                elif isinstance(message, _Advanced):
                    if on_progress is not None:
                        on_progress(message.inputs)
                elif isinstance(message, _Warns):
                    if message.text not in warned:  # all processes may say the same
                        warned.add(message.text)
                        warnings.warn(message.text, stacklevel=2)
                elif isinstance(message, _Ended):
                    folder.changed |= message.changed
                    if message.error is not None:
                        raise message.error
                    del processes[pipe]


def _give_back_memory() -> None:
    """Free what a model that nobody has any more took on a GPU: the process of that GPU needs it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.cuda.empty_cache()


def _cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _started(works: Iterable[_Work]) -> Iterator[dict[Connection, _DeviceProcess]]:
    """A process for each piece of work, by its pipe. None of them outlives the block."""
    started: list[_DeviceProcess] = []
    try:
        for work in works:
            started.append(_DeviceProcess(work.device))
            started[-1].send(work)
        yield {process.pipe: process for process in started}
    finally:
        for process in started:
            process.tell_to_end()
        latest = time.monotonic() + CLOSE_SECONDS
        for process in started:
            process.end(latest)


class _DeviceProcess:
    """A process that computes on one device, and the pipe to it."""

    def __init__(self, device: str) -> None:
        # A forked process cannot use a GPU that its parent has used.
        context = multiprocessing.get_context("spawn")
        self._device = device
        self.pipe, theirs = context.Pipe()
        # No daemon: those may not have decoding processes of their own.
        self._process = context.Process(target=_serve, args=(theirs,), name=f"zoo on {device}", daemon=False)
        # Ctrl-C reaches all processes of a terminal. Until the new one can ignore it, it is held back there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()  # so that the death of the process closes the pipe

    def receive(self) -> Any:
        """What the process says next. Raises PartialError if it died."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            raise self._death() from None

    def send(self, message: Any) -> None:
        """Give the process its work, or the shard that it asked for. Raises PartialError if it died."""
        try:
            self.pipe.send(message)
        except OSError:
            raise self._death() from None

    def _death(self) -> PartialError:
        self._process.join(CLOSE_SECONDS)  # the pipe closes a moment before the process is gone
        return PartialError(
            f"{cause_of_death(_place(self._device), self._process.exitcode)}.",
            hint="Run the same command again: shards that are done are passed over.",
        )

    def tell_to_end(self) -> None:
        self._process.terminate()

    def end(self, latest: float) -> None:
        """Wait for the end of the process until that time, then kill it."""
        self._process.join(max(0.0, latest - time.monotonic()))
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.pipe.close()
        self._process.close()


def _place(device: str) -> str:
    return f"The process for the device {device}"


# ---------------------------------------------------------------- in a process


class _Parent:
    """The process that started this one. Other threads may have something to say too."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def tell(self, message: NamedTuple) -> None:
        with self._lock:
            self._pipe.send(message)

    def next_shard(self) -> int | None:
        """The next shard for this process; None if there are no more."""
        self.tell(_Asks())
        shard: int | None = self._pipe.recv()
        return shard

    def warn(self, message: Warning | str, *_details: Any, **_more: Any) -> None:
        """Take the place of `warnings.showwarning`."""
        self.tell(_Warns(" ".join(str(message).split())))


def _serve(pipe: Connection) -> None:
    """The main function of a process: compute until there are no more shards, or until the parent is gone."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent handles them and ends its processes
    signal.signal(signal.SIGTERM, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=end_with_parent, daemon=True).start()
    parent = _Parent(pipe)
    try:
        # Only now, since unpickling it imports torch.
        ended = _computed(pipe.recv(), parent)
        # From here on there is nothing to stop, and Python's own way out is not to be disturbed.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        parent.tell(ended)
    except (EOFError, OSError):
        return  # the parent is gone


def _stop(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _computed(work: _Work, parent: _Parent) -> _Ended:
    """Do the work, and say how it ended."""
    place = _place(work.device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parent has opened the same request, and has told of them
            request = work.request.for_this_process(work.device, work.threads)
            worker = ShardWorker(request, work.out_dir, work.fingerprint, work.on_error, place=place)
        warnings.showwarning = parent.warn
        shards = iter(parent.next_shard, None)
        error = worker.compute(shards, lambda inputs: parent.tell(_Advanced(inputs)))
    except ZooError as failure:
        return _Ended(_as_sent(failure))
    except Exception as failure:
        failure.add_note(f"{place} has raised it:\n{traceback.format_exc()}")
        return _Ended(_as_sent(failure))
    return _Ended(error and _as_sent(error), worker.folder.changed)


def _as_sent(error: Exception) -> Exception:
    """The error, or its words if it does not survive the way to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]))
    return error
