"""Pooled features as Parquet tables (extra `[parquet]`). pyarrow inside functions."""

from __future__ import annotations

from importlib import import_module

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.export.plan import ExportPlan
from zoo.core.export.shard_rows import ShardRows
from zoo.core.export.writers.shard_writer import ShardWriter, WriteFile, shard_stem
from zoo.core.files.atomic_output import OutputFile


class ParquetWriter(ShardWriter):
    """`features-00000.parquet`: id, source, index, and per level a list of fixed size.

    Bytes of a name that are no UTF-8, which Parquet's strings cannot hold, are escaped there (`\\udcff`); the manifest
    has such a name as it is.
    """

    def __init__(self, plan: ExportPlan) -> None:
        super().__init__(plan)
        if plan.storage.pool == "none":
            raise UsageError(
                "The format parquet holds one vector per image and level, not maps.",
                hint="Pass --pool avg (or max, cls), or --format safetensors.",
            )
        taken = {"id", "source", "index"} & {level.key for level in plan.levels}
        if taken:
            raise UsageError(f"A feature level cannot be called {taken.pop()!r} in a Parquet table.")
        try:
            import_module("pyarrow.parquet")
        except ImportError as error:
            raise InvalidInputError(
                "The format parquet needs pyarrow, which is not installed.", hint="pip install 'zoo-cli[parquet]'"
            ) from error

    def files(self, shard: int) -> dict[str, WriteFile]:
        return {f"{shard_stem(shard)}.parquet": self._write}

    def _write(self, file: OutputFile, rows: ShardRows) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {
            "id": pa.array([_text(item.id) for item in rows.items], pa.string()),
            "source": pa.array([_text(self.plan.source_of(item)) for item in rows.items], pa.string()),
            "index": pa.array(rows.index),
        }
        for module, values in rows.values.items():
            columns[module] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
        sink = pa.BufferOutputStream()
        # Neither statistics nor dictionaries are of use for features that hardly ever repeat.
        pq.write_table(pa.table(columns), sink, write_statistics=False, use_dictionary=False)
        file.write(memoryview(sink.getvalue()))


def _text(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
