"""Features as one Zarr array a level, over all inputs. numpy inside functions.

Zarr format 3 (https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html) with uncompressed chunks: a chunk is the
bytes of its values, so each is written and put in place as any other file, which Zarr's own stores do not promise.
A chunk is a shard: no two processes ever write to one.
"""

from __future__ import annotations

import json
from typing import Any

from zoo.core.export.plan import Level
from zoo.core.export.shard_rows import ShardRows
from zoo.core.export.writers.shard_writer import ShardWriter, WriteFile, bytes_of
from zoo.core.files.atomic_output import OutputFile

ROOT = "features.zarr"


class ZarrWriter(ShardWriter):
    """`features.zarr/LEVEL` (inputs, *shape): row i is input i of the manifest, NaN where it could not be read."""

    rows_are_inputs = True

    def files(self, shard: int) -> dict[str, WriteFile]:
        # The chunk is cut along the first axis only: of the others it is the first one.
        first = ".0" * len(self.plan.storage.shape(self.plan.levels[0]))
        return {f"{ROOT}/{level.key}/c.{shard}{first}": self._chunk(level, shard) for level in self.plan.levels}

    def shard_name(self, shard: int) -> str:  # noqa: ARG002 (one name for all)
        return ROOT

    def layout(self) -> dict[str, bytes]:
        group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
        arrays = {f"{ROOT}/{level.key}/zarr.json": _json(self._metadata(level)) for level in self.plan.levels}
        return {f"{ROOT}/zarr.json": _json(group), **arrays}

    def _metadata(self, level: Level) -> dict[str, Any]:
        shape = self.plan.storage.shape(level)
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [len(self.plan.inputs), *shape],
            "data_type": self.plan.storage.dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [self.plan.images_per_shard, *shape]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": "NaN",
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "attributes": {"index": level.index, "stride": level.stride},
            # Levels differ in size, and a dataset of several arrays has one size a dimension.
            "dimension_names": ["input", *(f"{level.key}_{axis}" for axis in ("channel", "height", "width"))][
                : 1 + len(shape)
            ],
        }

    def _chunk(self, level: Level, shard: int) -> WriteFile:
        def write(file: OutputFile, rows: ShardRows) -> None:
            import numpy as np

            values = rows.values[level.key]
            # The last chunk too has its full size; what is beyond the array is never read.
            chunk = np.full((self.plan.images_per_shard, *values.shape[1:]), np.nan, values.dtype)
            chunk[rows.index - self.plan.positions(shard).start] = values
            file.write(bytes_of(chunk))

        return write


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode()
