"""What computes shards of an export in another process than the one that started it. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from zoo.core.errors import UsageError, ZooError
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.run import ExportJob, run_shards


class Request(Protocol):
    """A request of names and numbers that can be sent to a process, such as `ExportRequest`."""

    def open(self) -> ExportJob:
        """Build the model and return what to compute."""


class ShardWorker:
    """A request that is opened here, and the folder that its shards are published in.

    Args:
        request: opened once, which builds its model.
        out_dir: the folder, claimed by the process that started the export.
        fingerprint: of that process's plan.
        on_error: see `run_shards`.
        place: what this process is to the user, for messages.

    Raises:
        UsageError: the request gives another plan here.
        ZooError: it cannot be opened.
    """

    def __init__(self, request: Request, out_dir: str, fingerprint: str, on_error: str, *, place: str) -> None:
        self.job = request.open()
        if self.job.plan.fingerprint != fingerprint:
            raise UsageError(
                f"{place} finds other inputs, weights or settings than the process that started the export.",
                hint="Leave inputs and weights as they are meanwhile. Nodes of a cluster need them under the same "
                "paths, and devices must compute in the same precision.",
            )
        self.folder = FeatureFolder(out_dir, self.job.plan)
        self.on_error = on_error

    def compute(self, shards: Iterable[int], on_progress: Callable[[int], None] | None = None) -> ZooError | None:
        """Compute and publish shards; see `run_shards`. An error is returned: raising it might end the process."""
        try:
            run_shards(self.job, shards, self.folder, on_error=self.on_error, on_progress=on_progress)
        except ZooError as error:
            return error
        return None
