"""The lines of docs/features.md by which other libraries read what was exported, run over an export of arithmetic."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_export_resume as plain

from zoo.core.export.folder import FeatureFolder
from zoo.core.export.place import Place
from zoo.core.export.plan import ExportPlan
from zoo.core.export.run import ExportJob, Prepared, run_shards

from documentation import ROOT

TABLE = (ROOT / "docs" / "features.md").read_text(encoding="utf-8").partition("| with | code |")[2]
LINES = dict(re.findall(r"^\| (\w+) \| `(.+)` \|$", TABLE.partition("\n\n")[0], re.MULTILINE))
NAMES = {"torch": "safetensors.torch", "numpy": "numpy as np", "pandas": "pandas as pd", "polars": "polars as pl"}
NAMES |= {"xarray": "xarray as xr", "zarr": "zarr"}
PLACE = Place("EPSG:32632", (10.0, 0.0, 602_240.0, 0.0, -10.0, 5_400_000.0), 224, 224)
GOOD = [i for i in range(plain.NUM_INPUTS) if i not in plain.BAD]


@pytest.mark.parametrize("library", NAMES)
def test_a_line_reads_the_features(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torch", "zarr" if library == "xarray" else library, library):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    for folder, storage in (
        ("maps", {}),
        ("arrays", {"format": "npy"}),
        ("pooled", {"format": "parquet", "pool": "avg"}),
        ("cube", {"format": "zarr"}),
        ("placed", {"format": "zarr"}),
    ):
        if folder in LINES[library]:
            plan = plain.make_plan(**storage)
            export(Path(folder), replace(plan, placed=True) if folder == "placed" else plan)
    table: dict[str, Any] = {}
    exec(f"import glob, {NAMES[library]}\nfound = {LINES[library]}", table)
    check(library, table["found"])


def export(out: Path, plan: ExportPlan) -> None:
    compute = plain.compute if plan.storage.pool == "none" else pooled
    run_shards(ExportJob(plan, decode, compute, compute), range(plan.num_shards), FeatureFolder(out, plan))


def decode(items: Any) -> Any:
    for found in plain.decode(items):
        yield found._replace(place=PLACE) if isinstance(found, Prepared) else found


def pooled(images: Any) -> Any:
    for found in plain.compute(images):
        yield [level.mean((1, 2)) for level in found] if isinstance(found, list) else found


def check(library: str, found: Any) -> None:
    expected = np.stack([plain.features_of(i, plain.LEVELS[1]) for i in range(plain.NUM_INPUTS)])
    if library in ("torch", "numpy"):  # one shard
        np.testing.assert_array_equal(np.asarray(found), expected[:4])
    elif library == "zarr":
        assert [tuple(found[i]) for i in GOOD] == [PLACE.transform] * len(GOOD)
    elif library == "xarray":
        assert found["layer4"].dims == ("input", "layer4_channel", "layer4_height", "layer4_width")
        assert set(found.data_vars) == {"layer1", "layer4"}
        np.testing.assert_array_equal(found["layer4"].values[GOOD], expected[GOOD])
    else:
        assert len(found) == len(GOOD)
        rows = np.array([list(row) for row in found["layer4"].to_list()] if library == "polars" else [*found["layer4"]])
        np.testing.assert_allclose(rows, expected[GOOD].mean((2, 3)), rtol=1e-6)


def test_every_line_of_the_page_is_run() -> None:
    assert LINES.keys() == NAMES.keys()
