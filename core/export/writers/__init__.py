"""File formats for features: a writer names the files of a shard and writes their bytes. Standard library only."""

from __future__ import annotations

from zoo.core.errors import UsageError
from zoo.core.export.plan import ExportPlan
from zoo.core.export.writers.npy import NpyWriter
from zoo.core.export.writers.parquet import ParquetWriter
from zoo.core.export.writers.safetensors import SafetensorsWriter
from zoo.core.export.writers.shard_writer import ShardWriter
from zoo.core.export.writers.zarr import ZarrWriter

WRITERS: dict[str, type[ShardWriter]] = {
    "safetensors": SafetensorsWriter,
    "npy": NpyWriter,
    "parquet": ParquetWriter,
    "zarr": ZarrWriter,
}


def keeps_places(name: str) -> bool:
    """Whether a format can store the places of images."""
    return name in WRITERS and bool(WRITERS[name].place_names)


def writer_of(plan: ExportPlan) -> ShardWriter:
    """The writer for a plan's format. Raises UsageError if there is none, or if it cannot hold the plan's features."""
    name = plan.storage.format
    if name not in WRITERS:
        raise UsageError(f"The format of features is one of {', '.join(WRITERS)}, not {name!r}.")
    return WRITERS[name](plan)
