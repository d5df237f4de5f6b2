"""Each format of features, read back with the library that people read it with, against the numbers that went in."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import test_export_resume as plain
import torch

from zoo.core.errors import InvalidInputError, UsageError, ZooError
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.plan import ExportPlan, FeatureStorage, Level
from zoo.core.export.run import ExportJob, ExportReport, Prepared, report_of, run_shards
from zoo.core.export.writers import WRITERS, parquet
from zoo.core.images.inputs.image_input import ImageInput

GOOD = [i for i in range(plain.NUM_INPUTS) if i not in plain.BAD]
VALUES = [0.1, -3.0, 1e-8, 1 / 3, 65519.0, 2049.0]


def numbers(position: int, level: Level, pool: str) -> np.ndarray:
    """Features that differ in each image and place, most of which no half-precision number holds."""
    shape = (level.channels,) if pool != "none" else (level.channels, level.height, level.width)
    return np.resize(np.array(VALUES, np.float32) * (position + 1) / 23, shape)


def export(out: Path, plan: ExportPlan) -> ExportReport:
    pool = plan.storage.pool

    def decode(items: Iterable[ImageInput]) -> Any:
        for result, item in zip(plain.decode(items := list(items)), items, strict=True):
            yield Prepared(np.float32(int(item.id[:3]))) if isinstance(result, Prepared) else result  # type: ignore[arg-type]

    def compute(images: Iterable[Any]) -> Iterator[Any]:
        for image in images:
            if isinstance(image, ZooError):
                yield image
            else:
                yield [numbers(int(image), level, pool) for level in plan.levels]

    folder = FeatureFolder(out, plan)
    run_shards(ExportJob(plan, decode, compute, compute), range(plan.num_shards), folder)
    return report_of(folder, range(plan.num_shards))


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").open()]


def places(out: Path) -> dict[int, tuple[str, int]]:
    return {i: (line["shard"], line["row"]) for i, line in enumerate(manifest(out)) if line["status"] == "ok"}


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """As torch rounds to a dtype, back in float32."""
    return torch.from_numpy(values).to(getattr(torch, dtype)).float().numpy()


@pytest.mark.parametrize("pool", ["none", "avg"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_safetensors(tmp_path: Path, dtype: str, pool: str) -> None:
    export(tmp_path, plain.make_plan(dtype=dtype, pool=pool))
    assert list(places(tmp_path)) == GOOD
    for position, (name, row) in places(tmp_path).items():
        stored = safetensors.torch.load_file(tmp_path / name)
        assert stored["index"][row] == position
        for level in plain.LEVELS:
            found = stored[level.module][row]
            assert found.dtype == getattr(torch, dtype)
            expected = rounded(numbers(position, level, pool), dtype)
            np.testing.assert_array_equal(found.float().numpy(), expected)


@pytest.mark.parametrize("pool", ["none", "max"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_npy(tmp_path: Path, dtype: str, pool: str) -> None:
    export(tmp_path, plain.make_plan(format="npy", dtype=dtype, pool=pool))
    for position, (name, row) in places(tmp_path).items():
        assert np.load(tmp_path / name.replace("*", "index"))[row] == position
        for level in plain.LEVELS:
            found = np.load(tmp_path / name.replace("*", level.module), mmap_mode="r", allow_pickle=False)
            assert found.dtype == dtype
            np.testing.assert_array_equal(found[row], rounded(numbers(position, level, pool), dtype))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_parquet(tmp_path: Path, dtype: str) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    export(tmp_path, plain.make_plan(format="parquet", dtype=dtype, pool="avg"))
    for position, (name, row) in places(tmp_path).items():
        table = pq.read_table(tmp_path / name)
        assert table.column_names == ["id", "source", "index", "layer1", "layer4"]
        assert table["id"][row].as_py() == f"{position:03}.png"
        assert table["source"][row].as_py() == f"photos/{position:03}.png"
        assert table["index"][row].as_py() == position
        for level in plain.LEVELS:
            assert table.schema.field(level.module).type.list_size == level.channels
            found = np.array(table[level.module][row].as_py(), np.float32)
            np.testing.assert_array_equal(found, rounded(numbers(position, level, "avg"), dtype))


def test_parquet_takes_names_that_are_no_text(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    plan = plain.make_plan(format="parquet", pool="avg")
    plan.inputs[0:1] = [ImageInput("000\udcff\n.png", "000\udcff\n.png")]  # type: ignore[index]
    export(tmp_path, plan)
    assert pq.read_table(tmp_path / "features-00000.parquet")["id"][0].as_py() == "000\\udcff\n.png"
    assert manifest(tmp_path)[0]["id"] == "000\udcff\n.png"


@pytest.mark.parametrize("pool", ["none", "avg"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_zarr(tmp_path: Path, dtype: str, pool: str) -> None:
    zarr = pytest.importorskip("zarr")
    export(tmp_path, plain.make_plan(format="zarr", dtype=dtype, pool=pool))
    group = zarr.open_group(tmp_path / "features.zarr", mode="r")
    assert {name for name, _ in group.arrays()} == {"layer1", "layer4"}
    for level in plain.LEVELS:
        array = group[level.module]
        assert (array.dtype, array.shape[0], array.chunks[0]) == (dtype, plain.NUM_INPUTS, 4)
        assert array.attrs["stride"] == level.stride
        for position in range(plain.NUM_INPUTS):
            if position in plain.BAD:
                assert np.isnan(array[position]).all()
            else:
                np.testing.assert_array_equal(array[position], rounded(numbers(position, level, pool), dtype))
    assert places(tmp_path) == {position: ("features.zarr", position) for position in GOOD}


def test_zarr_rows_of_shards_without_a_readable_image_are_nan(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    plan = plain.make_plan(format="zarr")
    folder = FeatureFolder(tmp_path, plan)
    run_shards(ExportJob(plan, all_bad, iter, iter), range(plan.num_shards), folder)
    assert np.isnan(zarr.open_group(tmp_path / "features.zarr", mode="r")["layer4"][:]).all()


def all_bad(items: Iterable[ImageInput]) -> Any:
    return (InvalidInputError(f"{item.path}: cut off.") for item in items)


@pytest.mark.parametrize("file_format", sorted(WRITERS))
def test_checksums_in_the_parts_are_those_of_the_files(tmp_path: Path, file_format: str) -> None:
    import hashlib

    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    export(tmp_path, plain.make_plan(format=file_format, pool="avg"))
    told = {}
    for part in tmp_path.glob("manifest-*.jsonl"):
        record = json.loads(part.open().readline())
        told |= {name: (size, sha256) for name, size, sha256 in record["files"]}
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".json", ".jsonl")]
    found = {}
    for path in files:
        data = path.read_bytes()
        found[path.relative_to(tmp_path).as_posix()] = (len(data), hashlib.sha256(data).hexdigest())
    assert told == found


@pytest.mark.parametrize("file_format", sorted(WRITERS))
def test_the_same_bytes_twice_and_nothing_to_do_the_third_time(tmp_path: Path, file_format: str) -> None:
    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    plan = plain.make_plan(format=file_format, pool="avg")
    export(tmp_path / "a", plan)
    export(tmp_path / "b", plan)
    assert plain.content(tmp_path / "a") == plain.content(tmp_path / "b")
    folder = FeatureFolder(tmp_path / "a", plan)
    assert all(folder.is_done(shard) for shard in range(plan.num_shards))
    assert not report_of(folder, range(plan.num_shards)).changed


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ({"format": "csv"}, "safetensors, npy, parquet, zarr"),
        ({"format": "parquet"}, "--pool"),
        ({"format": "npy", "dtype": "bfloat16"}, "float32 or float16"),
        ({"format": "zarr", "dtype": "bfloat16"}, "float32 or float16"),
        ({"dtype": "int8"}, "float32, float16, bfloat16"),
        ({"pool": "median"}, "none, avg, max, cls"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, storage: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError) as raised:
        FeatureFolder(tmp_path / "out", plain.make_plan(**storage))
    assert said in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(parquet, "import_module", missing)
    with pytest.raises(InvalidInputError) as raised:
        FeatureFolder(tmp_path / "out", plain.make_plan(format="parquet", pool="avg"))
    assert "zoo-cli[parquet]" in raised.value.hint


@pytest.mark.parametrize(("dtype", "expected"), [("float32", 1), ("bfloat16", 1), ("float16", 2)])
def test_e7_overflow_in_half_precision_is_counted(tmp_path: Path, dtype: str, expected: int) -> None:
    plan = plain.make_plan(2, dtype=dtype)

    def compute(images: Iterable[Any]) -> Iterator[Any]:
        for _ in images:
            first, second = (np.zeros((level.channels, level.height, level.width)) for level in plan.levels)
            first[0, 0, :2] = np.nan, 7e4
            yield [first.astype(np.float32), second.astype(np.float32)]

    folder = FeatureFolder(tmp_path, plan)
    run_shards(ExportJob(plan, plain.decode, compute, compute), [0], folder)
    report = report_of(folder, [0])
    assert (report.nonfinite_images, report.nonfinite_values) == (2, 2 * expected)
    assert [line["nonfinite"] for line in manifest(tmp_path)] == [expected] * 2


def test_features_of_an_unexpected_shape_are_refused(tmp_path: Path) -> None:
    plan = plain.make_plan()
    job = ExportJob(plan, plain.decode, lambda images: ([np.zeros((1, 2, 2))] * 2 for _ in images), plain.compute)
    with pytest.raises(InvalidInputError, match=r"000\.png: layer1 should have features of shape \(2, 3, 4\)"):
        run_shards(job, [0], FeatureFolder(tmp_path, plan))


@pytest.mark.parametrize("module", ["../evil", "", ".", "a/b", "a\nb"])
def test_levels_whose_names_make_no_file_names_are_refused(module: str) -> None:
    with pytest.raises(UsageError, match="name of its own"):
        ExportPlan(inputs=[], levels=(Level(0, module, 1, 1, 1, 1),), images_per_shard=1, model={}, preprocessing={})


class Generated(list[ImageInput]):
    """Inputs that take no memory, of which every tenth cannot be read."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: Any) -> Any:
        if position >= self.count:
            raise IndexError
        return ImageInput(f"{position:06}.png", f"photos/{position:06}.png")

    def __iter__(self) -> Iterator[ImageInput]:
        return (self[position] for position in range(self.count))


def test_memory_does_not_grow_with_the_number_of_inputs(tmp_path: Path) -> None:
    def decode(items: Iterable[ImageInput]) -> Any:
        for item in items:
            bad = item.id[5] == "7"
            yield InvalidInputError(f"{item.path}: cut off.") if bad else Prepared(np.zeros((3, 2, 2), np.float32))

    def compute(images: Iterable[Any]) -> Iterator[Any]:
        return (image if isinstance(image, ZooError) else [np.zeros(64, np.float32)] for image in images)

    def peak(count: int) -> int:
        level = Level(0, "layer1", 64, 1, 1, 1)
        plan = ExportPlan(
            inputs=Generated(count), levels=(level,), images_per_shard=250, model={}, preprocessing={},
            storage=FeatureStorage(pool="avg"),
        )  # fmt: skip
        tracemalloc.start()
        folder = FeatureFolder(tmp_path / str(count), plan)
        run_shards(ExportJob(plan, decode, compute, compute), range(plan.num_shards), folder)
        report = report_of(folder, range(plan.num_shards))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (report.images, report.num_failed) == (count * 9 // 10, count // 10)
        return used

    peak(500)  # what is imported on first use
    assert peak(5000) < 1.1 * peak(1000)
