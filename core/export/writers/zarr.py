"""Write features as one Zarr array per level, over all inputs. Imports numpy inside functions.

Zarr format 3 (https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html) with uncompressed chunks: a chunk is the
bytes of its values, so each is written and renamed into place like any other file, which Zarr's own stores do not
guarantee. A chunk is a shard: no two processes write to the same chunk.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from zoo.core.export.plan import Level
from zoo.core.export.shard_rows import ShardRows
from zoo.core.export.writers.shard_writer import ShardWriter, WriteFile, bytes_of
from zoo.core.files.atomic_output import OutputFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = "features.zarr"

_TRANSFORM = {
    "long_name": "affine transform of the image or tile that was read, NaN where it has none",
    "description": "Six numbers a, b, c, d, e, f: the corner at column i and row j lies at x = a i + b j + c, "
    "y = d i + e j + f, in the coordinate system of epsg; x is easting or longitude.",
}
_EPSG = {
    "long_name": "EPSG code of the coordinate system, 0 where there is none",
    "description": "A coordinate system without a code stands in manifest.jsonl as WKT.",
}


class ZarrWriter(ShardWriter):
    """`features.zarr/LEVEL` (inputs, *shape): row i is input i of the manifest, NaN if it could not be read.

    If inputs have places, `transform` (inputs, 6) and `epsg` (inputs) are stored next to the levels.
    """

    place_names = ("transform", "epsg")
    rows_are_inputs = True

    def files(self, shard: int) -> dict[str, WriteFile]:
        # Chunks are cut only along the first axis: the index along the others is 0.
        first = ".0" * len(self.plan.storage.shape(self.plan.levels[0]))
        files = {f"{ROOT}/{level.key}/c.{shard}{first}": self._chunk(level, shard) for level in self.plan.levels}
        if self.plan.placed:
            files[f"{ROOT}/transform/c.{shard}.0"] = self._transforms(shard)
            files[f"{ROOT}/epsg/c.{shard}"] = self._codes(shard)
        return files

    def shard_name(self, shard: int) -> str:  # noqa: ARG002 (one name for all)
        return ROOT

    def layout(self) -> dict[str, bytes]:
        # This attribute of the climate and forecast conventions tells xarray which arrays describe the rows of all
        # levels.
        attributes = {"coordinates": "epsg transform"} if self.plan.placed else {}
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        arrays = {level.key: self._level(level) for level in self.plan.levels}
        if self.plan.placed:
            arrays |= {
                "transform": self._array("float64", {"coefficient": 6}, "NaN", _TRANSFORM),
                "epsg": self._array("int32", {}, 0, _EPSG),
            }
        return {f"{ROOT}/zarr.json": _json(group), **{f"{ROOT}/{k}/zarr.json": _json(v) for k, v in arrays.items()}}

    def _level(self, level: Level) -> dict[str, Any]:
        # Levels differ in size, and a dataset of several arrays has one size per dimension name.
        axes = [f"{level.key}_{axis}" for axis in ("channel", "height", "width")]
        sizes = dict(zip(axes, self.plan.storage.shape(level), strict=False))
        return self._array(self.plan.storage.dtype, sizes, "NaN", {"index": level.index, "stride": level.stride})

    def _array(self, dtype: str, sizes: dict[str, int], fill: object, attributes: dict[str, Any]) -> dict[str, Any]:
        """An array with a row for each input; `sizes` are its other dimensions, by name."""
        shape = sizes.values()
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [len(self.plan.inputs), *shape],
            "data_type": dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [self.plan.images_per_shard, *shape]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": fill,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "attributes": attributes,
            "dimension_names": ["input", *sizes],
        }

    def _chunk(self, level: Level, shard: int) -> WriteFile:
        return lambda file, rows: self._write_rows(file, rows, shard, rows.values[level.key], math.nan)

    def _transforms(self, shard: int) -> WriteFile:
        def write(file: OutputFile, rows: ShardRows) -> None:
            import numpy as np

            values = [place.transform if place and place.transform else (math.nan,) * 6 for place in rows.places]
            self._write_rows(file, rows, shard, np.array(values, "<f8"), math.nan)

        return write

    def _codes(self, shard: int) -> WriteFile:
        def write(file: OutputFile, rows: ShardRows) -> None:
            import numpy as np

            values = np.array([place.epsg if place else 0 for place in rows.places], "<i4")
            self._write_rows(file, rows, shard, values, 0)

        return write

    def _write_rows(self, file: OutputFile, rows: ShardRows, shard: int, values: NDArray[Any], fill: float) -> None:
        """Write a shard's chunk: `values` in its rows, `fill` for inputs that could not be read."""
        import numpy as np

        # The last chunk has full size too; values beyond the array are never read.
        chunk = np.full((self.plan.images_per_shard, *values.shape[1:]), fill, values.dtype)
        chunk[rows.index - self.plan.positions(shard).start] = values
        file.write(bytes_of(chunk))


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode()
