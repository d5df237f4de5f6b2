"""The bands of a raster, by the names that rasterio wrote, beside those that the weights read."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import zoo
from zoo.cli import errors
from zoo.cli.app import app

rasterio = pytest.importorskip("rasterio")


@pytest.mark.parametrize("reader", ["command", "windows"])
def test_bands_that_the_file_names_in_another_order_than_the_weights_are_refused(
    tmp_path: Path, reader: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rasterio writes the names; the weights read red first, the file has blue first."""
    base = tmp_path / "base.safetensors"
    safetensors.torch.save_file(zoo.create_model("resnet10t", seed=0).state_dict(), base)
    weights = tmp_path / "red_first.safetensors"
    adapt = ["adapt-weights", "resnet10t", "--weights", base, "--bands", "B04,B03,B02,B08", "-o", weights]
    assert errors.run(app, list(map(str, adapt))) == 0
    scene = tmp_path / "scene.tif"
    values = np.random.default_rng(0).integers(0, 4000, (4, 64, 64), np.uint16)
    profile = {"driver": "GTiff", "count": 4, "height": 64, "width": 64, "dtype": "uint16"}
    with rasterio.open(scene, "w", **profile) as file:
        file.write(values)
        file.descriptions = ("B02", "B03", "B04", "B08")
    turned = tmp_path / "turned.tif"
    with rasterio.open(turned, "w", **profile) as file:
        file.write(values[[2, 1, 0, 3]])
    words = ["export-features", "resnet10t", "--weights", weights, "--scale", "4000", "--out-indices", "4"]
    words += ["--tile", "32"] if reader == "windows" else []

    def export(image: Path, name: str, *more: str) -> int:
        return errors.run(app, [str(word) for word in [*words, image, "-o", tmp_path / name, *more]])

    assert export(scene, "refused") == 4
    told = capsys.readouterr().err
    assert "The bands are B02,B03,B04,B08, and the model reads them as B04,B03,B02,B08." in told
    assert "--bands B04,B03,B02,B08" in told
    assert export(scene, "chosen", "--bands", "B04,B03,B02,B08") == 0
    assert export(turned, "expected") == 0
    found, expected = (
        safetensors.torch.load_file(next((tmp_path / name).rglob("*.safetensors"))) for name in ("chosen", "expected")
    )
    assert all(torch.equal(value, expected[key]) for key, value in found.items())
