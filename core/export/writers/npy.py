"""Write features as .npy files, which `numpy.load` can memory-map. Imports numpy inside functions.

The format is numpy's own, version 1.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.core.export.shard_rows import ShardRows
from zoo.core.export.writers.shard_writer import ShardWriter, WriteFile, bytes_of, shard_stem
from zoo.core.files.atomic_output import OutputFile

if TYPE_CHECKING:
    from numpy.typing import NDArray


class NpyWriter(ShardWriter):
    """`features-00000.index.npy` (rows) int64, and `features-00000.LEVEL.npy` (rows, *shape) per level."""

    def files(self, shard: int) -> dict[str, WriteFile]:
        files = {f"{shard_stem(shard)}.index.npy": _write_index}
        return files | {f"{shard_stem(shard)}.{level.key}.npy": _level(level.key) for level in self.plan.levels}

    def shard_name(self, shard: int) -> str:
        return f"{shard_stem(shard)}.*.npy"


def _write_index(file: OutputFile, rows: ShardRows) -> None:
    _write(file, rows.index)


def _level(key: str) -> WriteFile:
    return lambda file, rows: _write(file, rows.values[key])


def _write(file: OutputFile, values: NDArray[Any]) -> None:
    from io import BytesIO

    from numpy.lib import format as npy

    header = BytesIO()
    npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(values))
    file.write(header.getvalue())
    file.write(bytes_of(values))
