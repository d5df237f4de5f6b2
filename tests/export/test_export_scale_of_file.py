"""`--scale file`, `--pages` and `--tile` of TIFFs on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from tiff_corpus import CORPUS, by_rasterio, by_tifffile, noise

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.images.preprocess import Preprocess
from zoo.core.images.rasters.raster import Raster

for package in ("tifffile", "imagecodecs", "rasterio"):
    pytest.importorskip(package)

MODEL = "test_resnet"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    safetensors.torch.save_file(zoo.create_model(MODEL, seed=0).state_dict(), path)
    return path


def export(weights: Path, out: Path, *words: str) -> int:
    fixed = ["export-features", MODEL, "--weights", str(weights), "--output", str(out), "--exact", "--pool", "avg"]
    return errors.run(app, [*fixed, "--out-indices", "4", *words])


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_scale_and_offset_of_the_file_are_applied_and_recorded(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.tif"
    written = noise(3, "uint16")

    def scale(file: Any) -> None:
        file.scales, file.offsets = (1e-4,) * 3, (-0.1,) * 3

    by_rasterio(written, after=scale)(path)
    assert export(weights, tmp_path / "out", str(path), "--no-resize", "--scale", "file") == 0
    assert "not applied" not in capsys.readouterr().err
    (line,) = lines(tmp_path / "out")
    assert (line["scale"], line["offset"], line["scaled"]) == ([1e-4] * 3, [-0.1] * 3, True)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["preprocessing"]["scale"] == "file"

    model = zoo.create_model(MODEL, checkpoint_path=str(weights), features_only=True, out_indices=(4,))
    cfg = zoo.create_model(MODEL).pretrained_cfg
    mean, std = (np.array(cfg[key], np.float32)[:, None, None] for key in ("mean", "std"))
    reflectance = (written * 1e-4 - 0.1).astype(np.float32)
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy((reflectance - mean) / std)[None])[0].mean((2, 3))
    found = safetensors.numpy.load_file(tmp_path / "out" / "features-00000.safetensors")
    values = next(value for name, value in found.items() if name != "index")
    np.testing.assert_allclose(values, expected.numpy(), rtol=2e-4, atol=2e-5)


def test_a_scale_that_is_ignored_is_said_once(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        CORPUS["scaled"](tmp_path / f"{name}.tif")
    assert export(weights, tmp_path / "out", str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), "--json") == 0
    captured = capsys.readouterr()
    assert captured.err.count("--scale file applies them") == 1
    assert all(isinstance(json.loads(line), dict) for line in captured.err.splitlines())
    assert json.loads(captured.out)["unscaled_images"] == 2
    assert [line["scaled"] for line in lines(tmp_path / "out")] == [False, False]


def test_a_file_without_a_scale_is_an_error_where_its_own_is_wanted(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_tifffile(noise(3, "uint16"))(tmp_path / "x.tif")
    assert export(weights, tmp_path / "out", str(tmp_path / "x.tif"), "--scale", "file") == 4
    assert "declares no scale and offset" in capsys.readouterr().err
    assert export(weights, tmp_path / "other", str(tmp_path / "x.tif"), "--scale", "files") == 2
    assert "--scale takes a number above 0, or file" in capsys.readouterr().err


def test_pages_are_chosen_on_the_command_line(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "x.tif")
    by_tifffile(noise(3, "uint8"), "pages")(Path(path))
    assert export(weights, tmp_path / "out", path) == 4
    assert "--pages bands" in capsys.readouterr().err
    assert export(weights, tmp_path / "bands", path, "--pages", "bands") == 0
    assert export(weights, tmp_path / "second", path, "--pages", "2") == 0  # grey serves a model of three
    assert export(weights, tmp_path / "third", path, "--pages", "0") == 2


def test_a_rescaled_raster_is_not_clipped_and_gaps_take_the_mean() -> None:
    values = np.array([[[0, 20_000], [1000, 2000]]], np.uint16)
    raster = Raster(pixels=values, white=65535, valid=values != 0, scales=(1e-4,), offsets=(-0.1,))
    transform = Preprocess(mean=(0.5,), std=(0.25,), resize=False, scale="file")
    np.testing.assert_allclose(transform.array(raster), [[[0, 5.6], [-2, -1.6]]], atol=1e-6)
