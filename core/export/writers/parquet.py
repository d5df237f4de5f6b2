"""Write pooled features as Parquet tables (extra `[parquet]`). Imports pyarrow inside functions."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.export.plan import ExportPlan
from zoo.core.export.shard_rows import ShardRows
from zoo.core.export.writers.shard_writer import ShardWriter, WriteFile, shard_stem
from zoo.core.files.atomic_output import OutputFile


class ParquetWriter(ShardWriter):
    """`features-00000.parquet`: id, source, index, and a list of fixed size per level.

    If inputs have places, the file is GeoParquet 1.1 (https://geoparquet.org/releases/v1.1.0): crs, transform,
    geometry.

    Parquet's strings cannot hold names that are not UTF-8: such bytes are escaped there (`\\udcff`), while the manifest
    has the name unchanged.
    """

    place_names = ("crs", "transform", "geometry")

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
        metadata = None
        if self.plan.placed:
            crs = [_text(place.crs) if place and place.crs else None for place in rows.places]
            transforms = [place.transform if place and place.transform else None for place in rows.places]
            polygons = [place.polygon() if place else None for place in rows.places]
            columns["crs"] = pa.array(crs, pa.string())
            columns["transform"] = pa.array(transforms, pa.list_(pa.float64(), 6))
            columns["geometry"] = pa.array(polygons, pa.binary())
            metadata = {"geo": json.dumps(_geo({code for code, shape in zip(crs, polygons, strict=True) if shape}))}
        for module, values in rows.values.items():
            columns[module] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
        sink = pa.BufferOutputStream()
        # Statistics and dictionaries are useless for features, which hardly ever repeat.
        pq.write_table(pa.table(columns, metadata=metadata), sink, write_statistics=False, use_dictionary=False)
        file.write(memoryview(sink.getvalue()))


def _geo(systems: set[str | None]) -> dict[str, Any]:
    """The metadata of a GeoParquet file whose geometries are in these coordinate systems.

    A missing `crs` means longitude and latitude in WGS 84, which matches images in EPSG:4326: x is the longitude,
    whatever axis order EPSG defines. Null means that the metadata do not state it: they could only state one PROJ
    document for all rows, while here each row states its own.
    """
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Polygon"], "orientation": "counterclockwise"}
    if systems != {"EPSG:4326"}:
        column["crs"] = None
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _text(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
