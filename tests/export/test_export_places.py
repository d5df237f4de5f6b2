"""Where images lie, beside their features: read with zarr, xarray, pyarrow and pandas, against what rasterio says."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.core.errors import UsageError
from zoo.core.export.job import export_features
from zoo.core.export.place import Place
from zoo.core.export.plan import ExportPlan, FeatureStorage, Level
from zoo.core.export.writers import WRITERS, writer_of
from zoo.core.images.inputs.find import find_inputs
from zoo.core.images.inputs.tiles import expand_tiles
from zoo.core.images.preprocess import Preprocess

from two_levels import TwoLevels

rasterio = pytest.importorskip("rasterio")

SIDE = (48, 64)
LOCAL = 'LOCAL_CS["a wall",UNIT["metre",1]]'


def write(path: Path, crs: str | None, transform: Any, seed: int = 0) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, *SIDE), dtype=np.uint8)
    profile = {"driver": "GTiff", "height": SIDE[0], "width": SIDE[1], "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform) as file:
        file.write(pixels)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Three places in systems of their own, one of them turned; a cut file, a photograph, and a nameless system."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    write(folder / "a_utm.tif", "EPSG:32633", rasterio.Affine(10, 0, 499_980, 0, -10, 5_200_020))
    write(folder / "b_degrees.tif", "EPSG:4326", rasterio.Affine(0.01, 0, 8.5, 0, -0.02, 47.25))
    write(folder / "c_turned.tif", "EPSG:3035", rasterio.Affine(3, 4, 100.5, 4, -3, 200.25))
    (folder / "d_cut.tif").write_bytes((folder / "a_utm.tif").read_bytes()[:3000])
    Image.fromarray(np.zeros((*SIDE, 3), np.uint8)).save(folder / "e_photo.png")
    write(folder / "f_local.tif", LOCAL, rasterio.Affine(1, 0, 0, 0, 1, 7))
    return folder


def export(source: Path, out: Path, file_format: str, *, tile: int = 0, pool: str = "avg") -> dict[str, Any]:
    inputs = find_inputs([source])
    if tile:
        inputs = expand_tiles(inputs, lambda item: SIDE, tile, tile)
    storage = FeatureStorage(format=file_format, pool=pool)
    preprocess = Preprocess(size=(32, 32), crop_pct=1.0)
    export_features(TwoLevels(), preprocess, inputs, out, images_per_shard=4, storage=storage)
    config: dict[str, Any] = json.loads((out / "config.json").read_text())
    return config


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").open()]


def ring_of(wkb: bytes) -> list[tuple[float, ...]]:
    """The points of a polygon of one ring (OGC 06-103r4, 8.2.7)."""
    order, kind, rings, points = struct.unpack_from("<BIII", wkb)
    assert (order, kind, rings, len(wkb)) == (1, 3, 1, 13 + 16 * points)
    numbers = struct.unpack_from(f"<{2 * points}d", wkb, 13)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def area_of(ring: list[tuple[float, ...]]) -> float:
    """Positive where it goes counterclockwise."""
    return sum(x * v - u * y for (x, y), (u, v) in pairwise(ring)) / 2


def assert_lies_as(wkb: bytes, path: Path, window: Any = None) -> None:
    with rasterio.open(path) as file:
        transform = file.transform if window is None else file.window_transform(window)
        width, height = (file.width, file.height) if window is None else (window.width, window.height)
        bounds = file.bounds if window is None else file.window_bounds(window)
    corners = [transform @ pixel for pixel in ((0, 0), (0, height), (width, height), (width, 0))]
    ring = ring_of(wkb)
    assert ring[0] == ring[-1]
    np.testing.assert_allclose(sorted(ring[:-1]), sorted(corners), rtol=1e-12)
    assert area_of(ring) == pytest.approx(width * height * abs(transform.determinant))
    if transform.is_rectilinear and transform.e < 0:
        xs, ys = zip(*ring, strict=True)
        np.testing.assert_allclose((min(xs), min(ys), max(xs), max(ys)), bounds, rtol=1e-12)


@pytest.mark.parametrize("pool", ["none", "avg"])
def test_zarr(scenes: Path, tmp_path: Path, pool: str) -> None:
    zarr = pytest.importorskip("zarr")
    assert export(scenes, tmp_path / "out", "zarr", pool=pool)["placed"] is True
    group = zarr.open_group(tmp_path / "out" / "features.zarr", mode="r")
    transforms, codes = group["transform"], group["epsg"]
    assert (transforms.shape, transforms.dtype, transforms.chunks) == ((6, 6), "float64", (4, 6))
    assert (codes.shape, codes.dtype, codes.chunks) == ((6,), "int32", (4,))
    assert transforms.metadata.dimension_names == ("input", "coefficient")
    assert codes.metadata.dimension_names == ("input",)
    assert "x = a i + b j + c" in transforms.attrs["description"]
    assert "EPSG" in codes.attrs["long_name"]
    assert codes[:].tolist() == [32633, 4326, 3035, 0, 0, 0]
    for position, name in enumerate(("a_utm", "b_degrees", "c_turned", "", "", "f_local")):
        if name:
            with rasterio.open(scenes / f"{name}.tif") as file:
                assert tuple(transforms[position]) == tuple(file.transform)[:6]
        else:
            assert np.isnan(transforms[position]).all()
    assert [line["row"] for line in manifest(tmp_path / "out") if line["status"] == "ok"] == [0, 1, 2, 4, 5]


def test_tiles_in_xarray(scenes: Path, tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    export(scenes / "b_degrees.tif", tmp_path / "out", "zarr", tile=32)
    found = xr.open_zarr(tmp_path / "out" / "features.zarr", consolidated=False)
    assert set(found.data_vars) == {"level0", "level1"}
    assert set(found.coords) == {"transform", "epsg"}
    assert (found["transform"].dims, found["epsg"].dims) == (("input", "coefficient"), ("input",))
    assert found["epsg"].dtype == "int32"
    lines = manifest(tmp_path / "out")
    assert len(lines) == 4
    with rasterio.open(scenes / "b_degrees.tif") as file:
        for position, line in enumerate(lines):
            window = line["window"]
            place = rasterio.windows.Window(window["left"], window["top"], window["width"], window["height"])
            expected = tuple(file.window_transform(place))[:6]
            np.testing.assert_allclose(found["transform"].values[position], expected, rtol=1e-12)
    one = found["level1"].isel(input=3)
    assert int(one["epsg"]) == 4326


def test_parquet(scenes: Path, tmp_path: Path) -> None:
    pq, pd = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pandas")
    assert export(scenes, tmp_path / "out", "parquet")["placed"] is True
    table = pq.read_table(tmp_path / "out" / "features-00000.parquet")
    names = ["id", "source", "index", "crs", "transform", "geometry", "level0", "level1"]
    assert table.column_names == names
    kinds = [str(table.schema.field(name).type) for name in ("crs", "transform", "geometry")]
    assert kinds == ["string", "fixed_size_list<element: double>[6]", "binary"]
    frame = pd.concat(map(pd.read_parquet, sorted((tmp_path / "out").glob("*.parquet"))), ignore_index=True)
    assert frame["index"].tolist() == [0, 1, 2, 4, 5]
    for row in (0, 1, 2, 4):
        path = scenes / frame["id"][row]
        with rasterio.open(path) as file:
            assert tuple(frame["transform"][row]) == tuple(file.transform)[:6]
            assert rasterio.CRS.from_string(frame["crs"][row]) == file.crs
        assert_lies_as(frame["geometry"][row], path)
    assert frame["crs"].tolist()[:3] == ["EPSG:32633", "EPSG:4326", "EPSG:3035"]
    photograph = frame.loc[3, ["crs", "transform", "geometry"]]
    assert photograph.isna().all()
    for path in (tmp_path / "out").glob("*.parquet"):
        geo = json.loads(pq.read_schema(path).metadata[b"geo"])
        assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
        column = geo["columns"]["geometry"]
        assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
        assert column["crs"] is None  # of several systems there is none for the column


def test_parquet_in_longitude_and_latitude_needs_no_more_words(scenes: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    export(scenes / "b_degrees.tif", tmp_path / "out", "parquet", tile=32)
    (path,) = (tmp_path / "out").glob("*.parquet")
    assert "crs" not in json.loads(pq.read_schema(path).metadata[b"geo"])["columns"]["geometry"]
    table = pq.read_table(path)
    for wkb, line in zip(table["geometry"].to_pylist(), manifest(tmp_path / "out"), strict=True):
        window = line["window"]
        place = rasterio.windows.Window(window["left"], window["top"], window["width"], window["height"])
        assert_lies_as(wkb, scenes / "b_degrees.tif", place)
        xs, ys = zip(*ring_of(wkb), strict=True)
        assert 8 < min(xs) < max(xs) < 10 < 46 < min(ys) < max(ys) < 48


@pytest.mark.parametrize("file_format", sorted(WRITERS))
def test_photographs_are_exported_as_if_there_were_no_places(scenes: Path, tmp_path: Path, file_format: str) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (scenes / "e_photo.png").rename(photos / "e_photo.png")
    assert "placed" not in export(photos, tmp_path / "out", file_format)
    text = " ".join(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*"))
    assert "epsg" not in text
    if file_format == "parquet":
        pq = pytest.importorskip("pyarrow.parquet")
        schema = pq.read_schema(tmp_path / "out" / "features-00000.parquet")
        assert schema.names == ["id", "source", "index", "level0", "level1"]
        assert schema.metadata is None


def test_the_first_input_that_opens_decides_for_all(scenes: Path, tmp_path: Path) -> None:
    (scenes / "0_none.tif").write_bytes(b"no image")
    assert export(scenes, tmp_path / "one", "zarr")["placed"] is True
    (scenes / "e_photo.png").rename(scenes / "0.png")
    assert "placed" not in export(scenes, tmp_path / "two", "zarr")
    assert not (tmp_path / "two" / "features.zarr" / "epsg").exists()


@pytest.mark.parametrize("file_format", ["safetensors", "npy"])
def test_formats_without_room_have_the_same_plan_as_ever(scenes: Path, tmp_path: Path, file_format: str) -> None:
    assert "placed" not in export(scenes, tmp_path / "out", file_format)
    assert manifest(tmp_path / "out")[0]["georeference"]["crs"] == "EPSG:32633"


def test_a_second_run_has_nothing_to_do(scenes: Path, tmp_path: Path) -> None:
    for file_format in ("zarr", "parquet"):
        export(scenes, tmp_path / file_format, file_format)
        before = {p: p.stat().st_mtime_ns for p in (tmp_path / file_format).rglob("*") if p.is_file()}
        export(scenes, tmp_path / file_format, file_format)
        assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / file_format).rglob("*") if p.is_file()}


@pytest.mark.parametrize(("file_format", "name"), [("zarr", "epsg"), ("parquet", "geometry")])
def test_a_level_and_a_place_of_one_name_are_refused(file_format: str, name: str) -> None:
    plan = ExportPlan(
        inputs=[],
        levels=(Level(0, name, 4, 1, 1, 1),),
        images_per_shard=1,
        model={},
        preprocessing={},
        storage=FeatureStorage(format=file_format, pool="avg"),
        placed=True,
    )
    with pytest.raises(UsageError, match="beside the places"):
        writer_of(plan)


def test_an_image_without_an_area_has_no_polygon() -> None:
    for transform in ((), (0.0, 0.0, 5.0, 0.0, 0.0, 5.0), (1e300, 0.0, 0.0, 0.0, 1e300, 0.0)):
        assert Place("EPSG:4326", transform, 4, 3).polygon() is None
    assert [Place(crs, (), 1, 1).epsg for crs in ("EPSG:4326", "", "EPSG:x", "EPSG:99999999999", LOCAL)] == [
        4326
    ] + 4 * [0]
