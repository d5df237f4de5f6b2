"""Compute the shards of an export on Ray Data (extra `[ray]`): the same files, computed by actors on a cluster.

An actor opens the request once, which builds its model, and then publishes shards itself, each by renames. If a node
dies and Ray repeats its task elsewhere, the same bytes are written again. All nodes share one file system, where the
inputs, the weights and the output folder have the same paths.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from zoo.core.errors import CannotWriteError, InvalidInputError, NotFoundError, PartialError, UsageError
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.shard_worker import Request, ShardWorker

DEFAULT_TIMEOUT = 3600.0
_CPUS_PER_ACTOR = 1
_LISTENER_TIMEOUT = 5.0  # seconds, for each of a host's addresses
_ADDRESS_HINT = "Set RAY_ADDRESS to a running cluster, or unset it to start one on this machine."


class ShardActor:
    """The actor on a node: one model, which computes one shard per call."""

    def __init__(self, request: Request, out_dir: str, fingerprint: str, on_error: str) -> None:
        self._worker = ShardWorker(request, out_dir, fingerprint, on_error, place="A node of the cluster")

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Compute the shards in `batch["item"]`; return each shard's number, and its error if there is one."""
        shards = [int(shard) for shard in batch["item"]]
        errors = [self._worker.compute([shard]) for shard in shards]
        return {
            "shard": shards,
            "error": ["" if error is None else error.message for error in errors],
            "write_error": [isinstance(error, CannotWriteError) for error in errors],
        }


def run_on_ray(
    request: Request,
    folder: FeatureFolder,
    shards: Iterable[int],
    *,
    num_actors: int = 1,
    on_error: str = "skip",
    on_progress: Callable[[int], None] | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> None:
    """Compute shards on the cluster in RAY_ADDRESS, or on one started here. Published shards stay.

    Args:
        request: opened by each actor.
        folder: claimed for the request's plan, on a file system that all nodes share.
        shards: their numbers, e.g. from `pending_shards`.
        num_actors: number of models that run in parallel, on one CPU each.
        on_error, on_progress: see `run_shards`; progress counts whole shards.
        timeout: seconds to wait for the next shard. Ray itself waits for ever if actors keep dying.

    Raises:
        UsageError: fewer than one actor.
        NotFoundError: no cluster answers.
        InvalidInputError, CannotWriteError: Ray is not installed, or a shard failed; with the reason.
        PartialError: no shard was done for `timeout` seconds, or the cluster failed.
    """
    if num_actors < 1:
        raise UsageError(f"The number of actors must be 1 or more, not {num_actors}.")
    numbers = list(shards)
    if not numbers:
        return
    try:
        ray, data = import_module("ray"), import_module("ray.data")
    except ImportError as error:
        raise InvalidInputError("The engine ray is not installed.", hint="pip install 'zoo-cli[ray]'") from error
    # zoo reports progress itself, and faults come as exceptions.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    started = not ray.is_initialized()
    if started:
        _connect(ray)
    folder.reopen()
    try:
        data.DataContext.get_current().enable_progress_bars = False
        # Ray restarts actors and their tasks as often as necessary.
        tasks = data.from_items(numbers, override_num_blocks=len(numbers)).map_batches(
            ShardActor,
            fn_constructor_args=(request, str(folder.path.absolute()), folder.plan.fingerprint, on_error),
            compute=data.ActorPoolStrategy(size=num_actors),
            num_cpus=_CPUS_PER_ACTOR,
            batch_size=1,
        )
        for row in with_timeout(tasks.iter_rows, timeout):
            if row["error"]:
                raise (CannotWriteError if row["write_error"] else InvalidInputError)(row["error"])
            folder.changed = True
            if on_progress is not None:
                on_progress(len(folder.plan.positions(int(row["shard"]))))
    finally:
        if started:
            ray.shutdown()


def _connect(ray: Any) -> None:
    require_listener(os.environ.get("RAY_ADDRESS", ""))
    try:
        ray.init(log_to_driver=False, configure_logging=False, include_dashboard=False)
    except Exception as error:
        where = os.environ.get("RAY_ADDRESS", "")
        raise NotFoundError(
            f"No Ray cluster answers{f' at {where}' if where else ''}: {_last_line(error)}",
            hint=_ADDRESS_HINT,
        ) from error


def require_listener(address: str) -> None:
    """Raise NotFoundError if nobody listens at a cluster's `host:port` or `ray://host:port`.

    Ray itself would try for minutes without any output. Other forms ("auto", "local") are left to Ray.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        return
    if not host or port is None:
        return
    try:
        socket.create_connection((host, port), timeout=_LISTENER_TIMEOUT).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotFoundError(f"No Ray cluster answers at {host}:{port}: {reason}.", hint=_ADDRESS_HINT) from error


def with_timeout(rows: Callable[[], Iterable[dict[str, Any]]], timeout: float) -> Iterable[dict[str, Any]]:
    """The rows that another thread gets from Ray, which has no timeout of its own."""
    done: queue.SimpleQueue[dict[str, Any] | Exception | None] = queue.SimpleQueue()

    def collect() -> None:
        try:
            for row in rows():
                done.put(row)
            done.put(None)
        except Exception as error:
            done.put(error)

    threading.Thread(target=collect, daemon=True).start()
    hint = "Run the same command again: shards that are done are passed over."
    while True:
        try:
            row = done.get(timeout=timeout)
        except queue.Empty:
            raise PartialError(f"Ray has finished no shard for {timeout:.0f} s.", hint=hint) from None
        if isinstance(row, Exception):
            raise PartialError(f"The Ray cluster failed: {_last_line(row)}", hint=hint) from row
        if row is None:
            return
        yield row


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
