"""Palettes with a nodata value: colours from the table that was written, and where there is data by rasterio's mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.preprocess import Preprocess
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.read import open_raster, read_image

rasterio = pytest.importorskip("rasterio")

HEIGHT, WIDTH = 33, 50
COLOURS = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)


def write(path: Path, bits: int = 8, nodata: float | None = 1, **profile: Any) -> np.ndarray:
    """The indices (height, width) of a file."""
    indices = np.random.default_rng(0).integers(0, min(2**bits, 6), (HEIGHT, WIDTH), dtype=np.uint8)
    shape = {"driver": "GTiff", "count": 1, "height": HEIGHT, "width": WIDTH, "dtype": "uint8", "nbits": bits}
    with rasterio.open(path, "w", **shape, photometric="palette", nodata=nodata, **profile) as file:
        file.write(indices[None])
        file.write_colormap(1, {i: (*map(int, COLOURS[i]), 255) for i in range(2**bits)})
    return indices


def mask_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        found: np.ndarray = file.read_masks(1) != 0
    return found


def read(path: Path, window: Window | None = None, **options: Any) -> Raster:
    with open_raster(ImageInput(path.name, str(path)), ReadOptions(**options)) as file:
        return file.read(window)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("profile", [{}, {"compress": "deflate"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])
def test_colours_and_mask(tmp_path: Path, bits: int, profile: dict[str, Any]) -> None:
    indices = write(tmp_path / "x.tif", bits, **profile)
    found = read_image(tmp_path / "x.tif", 3)
    np.testing.assert_array_equal(found.pixels, COLOURS[indices].transpose(2, 0, 1))
    expected = mask_of(tmp_path / "x.tif")
    assert not expected.all()
    np.testing.assert_array_equal(found.valid, expected)
    assert (found.white, found.picture) == (255, True)
    assert found.facts == {"nodata": {"value": "1", "per": "pixel"}}


def test_a_colour_that_another_index_has_too_is_data(tmp_path: Path) -> None:
    """The index counts, not the colour."""
    indices = write(tmp_path / "x.tif")
    with rasterio.open(tmp_path / "x.tif", "r+") as file:
        file.write_colormap(1, dict.fromkeys(range(256), (7, 8, 9, 255)))
    found = read_image(tmp_path / "x.tif", 3)
    np.testing.assert_array_equal(found.valid, indices != 1)
    assert (np.asarray(found.pixels) == np.array([7, 8, 9])[:, None, None]).all()


def test_windows_and_the_place_on_the_ground(tmp_path: Path) -> None:
    place = rasterio.Affine(10, 0, 500_000, 0, -10, 5_200_000)
    indices = write(tmp_path / "x.tif", crs="EPSG:32633", transform=place)
    window = Window(20, 10, 25, 15)
    found = read(tmp_path / "x.tif", window, in_chans=3)
    part = (slice(10, 25), slice(20, 45))
    np.testing.assert_array_equal(found.pixels, COLOURS[indices[part]].transpose(2, 0, 1))
    np.testing.assert_array_equal(found.valid, mask_of(tmp_path / "x.tif")[part])
    expected = place @ rasterio.Affine.translation(20, 10)
    assert found.georeference == {"crs": "EPSG:32633", "transform": list(expected)[:6]}


@pytest.mark.parametrize("nodata", [0, 255, 5, 1])
def test_every_index(tmp_path: Path, nodata: int) -> None:
    write(tmp_path / "x.tif", nodata=nodata)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif", 3).valid, mask_of(tmp_path / "x.tif"))


@pytest.mark.parametrize("nodata", [b"300", b"-1", b"nan", b"0.5"])
def test_a_number_that_is_no_index_is_nowhere(tmp_path: Path, nodata: bytes) -> None:
    tifffile = pytest.importorskip("tifffile")
    indices = np.zeros((4, 5), np.uint8)
    table = COLOURS.T.astype(np.uint16) * 257
    tag = [(42113, "s", 0, nodata.decode(), True)]
    tifffile.imwrite(tmp_path / "x.tif", indices, photometric="palette", colormap=table, extratags=tag)
    found = read_image(tmp_path / "x.tif", 3)
    assert found.valid is None
    assert (np.asarray(found.pixels) == COLOURS[0][:, None, None]).all()


@pytest.mark.parametrize("number", range(1, 9))
def test_colours_and_mask_are_turned_alike(tmp_path: Path, number: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    indices = np.random.default_rng(2).integers(0, 6, (8, 13), dtype=np.uint8)
    table = COLOURS.T.astype(np.uint16) * 257
    tags = [(274, "H", 1, number, True), (42113, "s", 0, "3", True)]
    tifffile.imwrite(tmp_path / "x.tif", indices, photometric="palette", colormap=table, extratags=tags)
    found = read_image(tmp_path / "x.tif", 3)
    turns = [None, None, *(getattr(Image.Transpose, name) for name in (
        "FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"
    ))]  # fmt: skip
    turn = turns[number]
    image = Image.fromarray(indices)
    upright = np.asarray(image if turn is None else image.transpose(turn))
    np.testing.assert_array_equal(found.pixels, COLOURS[upright].transpose(2, 0, 1))
    np.testing.assert_array_equal(found.valid, upright != 3)


def test_what_is_no_data_is_the_mean_for_the_model(tmp_path: Path) -> None:
    indices = write(tmp_path / "x.tif")
    preprocess = Preprocess(resize=False, mean=(0.2, 0.3, 0.4), std=(0.5, 0.5, 0.5))
    found = preprocess.array(read_image(tmp_path / "x.tif", 3))
    np.testing.assert_allclose(found[:, indices == 1], 0, atol=1e-6)
    expected = (COLOURS[indices] / 255 - [0.2, 0.3, 0.4]) / 0.5
    np.testing.assert_allclose(found[:, indices != 1].T, expected[indices != 1], atol=1e-5)


def test_a_model_of_one_channel_sees_grey(tmp_path: Path) -> None:
    indices = write(tmp_path / "x.tif")
    found = read_image(tmp_path / "x.tif", 1)
    grey = np.asarray(Image.fromarray(COLOURS[indices]).convert("L"))
    np.testing.assert_array_equal(np.asarray(found.pixels), grey[None])
    np.testing.assert_array_equal(found.valid, indices != 1)


def test_without_nodata_it_is_the_picture_that_it_was(tmp_path: Path) -> None:
    indices = write(tmp_path / "x.tif", nodata=None)
    found = read_image(tmp_path / "x.tif", 3)
    assert isinstance(found.pixels, Image.Image)
    assert found.valid is None
    np.testing.assert_array_equal(np.asarray(found.pixels), COLOURS[indices])


def test_a_palette_that_is_not_read_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path / "x.tif", nodata=None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(tmp_path / "x.tif", "r+") as file:
        file.write_mask(np.full((HEIGHT, WIDTH), 255, np.uint8))
    with pytest.raises(InvalidInputError, match="colour space 3") as raised:
        read_image(tmp_path / "x.tif", 3)
    assert "gdal_translate -expand rgb" in raised.value.hint
