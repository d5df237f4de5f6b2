"""The interface of a file format for features. Standard library only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zoo.core.errors import UsageError
from zoo.core.export.plan import ExportPlan
from zoo.core.export.shard_rows import ShardRows
from zoo.core.files.atomic_output import OutputFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

WriteFile = Callable[[OutputFile, ShardRows], None]
"""Writes the bytes of one file of a shard; errors of the file are OSErrors."""


class ShardWriter(ABC):
    """A format, for one plan. No file belongs to two shards, so that each shard can be published separately.

    Raises UsageError if the format cannot hold the plan's features.
    """

    dtypes: tuple[str, ...] = ("float32", "float16")
    place_names: tuple[str, ...] = ()
    """Names under which the places of images are stored next to the levels; empty if the format cannot store them."""
    rows_are_inputs = False
    """Whether an image's row is its position among all inputs, not among the readable images of its shard."""

    def __init__(self, plan: ExportPlan) -> None:
        self.plan = plan
        if plan.storage.dtype not in self.dtypes:
            raise UsageError(
                f"The format {plan.storage.format} holds {' or '.join(self.dtypes)}, not {plan.storage.dtype}.",
                hint="Pass --format safetensors, or another --dtype.",
            )
        taken = set(self.place_names if plan.placed else ()) & {level.key for level in plan.levels}
        if taken:
            raise UsageError(f"A feature level cannot be called {taken.pop()!r} beside the places of images.")

    @abstractmethod
    def files(self, shard: int) -> dict[str, WriteFile]:
        """A shard's files: name relative to the folder, POSIX style -> the function that writes it."""

    def shard_name(self, shard: int) -> str:
        """The manifest's name for the location of a shard's rows."""
        return next(iter(self.files(shard)))

    def layout(self) -> dict[str, bytes]:
        """Files that all shards share, by name; written once, before the first shard."""
        return {}


def shard_stem(shard: int) -> str:
    """The prefix of a shard's file names, counted from 0."""
    return f"features-{shard:05d}"


def bytes_of(values: NDArray[Any]) -> memoryview:
    """The bytes of a contiguous array."""
    return memoryview(values.reshape(-1).view("u1").data)
