"""Write features as safetensors: `index` and one tensor per level. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.core.export.plan import DTYPES
from zoo.core.export.shard_rows import ShardRows
from zoo.core.export.writers.shard_writer import ShardWriter, WriteFile, bytes_of, shard_stem
from zoo.core.files.atomic_output import OutputFile
from zoo.core.files.safetensors_writer import write_safetensors
from zoo.core.files.stored_tensor import StoredTensor


class SafetensorsWriter(ShardWriter):
    """`features-00000.safetensors`: `index` (rows) int64, and (rows, *shape) per module."""

    dtypes = tuple(DTYPES)

    def files(self, shard: int) -> dict[str, WriteFile]:
        return {f"{shard_stem(shard)}.safetensors": _write}


def _write(file: OutputFile, rows: ShardRows) -> None:
    write_safetensors(file, _tensors(rows), {"format": "pt"})


def _tensors(rows: ShardRows) -> Iterator[StoredTensor]:
    yield StoredTensor("index", "I64", rows.index.shape, bytes_of(rows.index))
    for module, values in rows.values.items():
        yield StoredTensor(module, DTYPES[rows.dtype], values.shape, bytes_of(values))
