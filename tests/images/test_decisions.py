"""What a manifest says was decided about an input: which way it was turned, and which page or frame it is, of how many.

Pillow's own transposition, tifffile's pages and pydicom's frames say what the numbers mean.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from zoo.core.export.job import export_features
from zoo.core.images.inputs.find import find_inputs
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.inputs.tiles import expand_tiles
from zoo.core.images.preprocess import Preprocess
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.read import open_raster

from two_levels import TwoLevels

ORIENTATION = 0x0112
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def read(path: Path, window: Window | None = None, **options: Any) -> Raster:
    with open_raster(ImageInput(path.name, str(path)), ReadOptions(**options)) as file:
        return file.read(window)


def saved(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    extra = {"lossless": True} if path.suffix == ".webp" else {}
    Image.fromarray(PIXELS).save(path, exif=exif, **extra)
    return path


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp", "avif"])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_turn_is_told_by_its_number_in_exif(tmp_path: Path, ending: str, number: int) -> None:
    if ending == "avif":
        pytest.importorskip("PIL._avif")
    path = saved(tmp_path / f"x.{ending}", number)
    found = read(path)
    assert found.facts == ({} if number == 1 else {"orientation": number})
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(found.pixels), np.asarray(ImageOps.exif_transpose(image)))
    if ending == "jpg":
        assert read(path, min_size=4).facts == found.facts
    assert read(path, Window(0, 0, 8, 8)).facts == found.facts


def test_numbers_that_mean_no_turn_are_not_told(tmp_path: Path) -> None:
    for number in (0, 9, 200):
        assert read(saved(tmp_path / "x.jpg", number)).facts == {}


def test_a_page_and_how_many_there_are(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pages = np.random.default_rng(1).integers(0, 1000, (4, 9, 12), dtype=np.uint16)
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as file:
        for page in pages:
            file.write(page, metadata=None)
    for number in (1, 4):
        found = read(path, in_chans=1, pages=str(number))
        assert found.facts == {"page": number, "pages": 4}
        np.testing.assert_array_equal(np.asarray(found.pixels), pages[number - 1 : number])
    for options in ({"pages": "bands"}, {}):
        found = read(path, in_chans=4, **options)
        assert found.facts == {"pages": 4}
        np.testing.assert_array_equal(found.pixels, tifffile.imread(path, key=slice(None)))
    with tifffile.TiffWriter(tmp_path / "one.tif") as file:
        file.write(pages[0], metadata=None)
    for choice in ("auto", "bands", "1"):
        assert read(tmp_path / "one.tif", in_chans=1, pages=choice).facts == {}


def test_a_page_in_colour_that_pillow_reads(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.roll(PIXELS, shift, 0)) for shift in range(3)]
    pictures[0].save(tmp_path / "x.tif", save_all=True, append_images=pictures[1:])
    found = read(tmp_path / "x.tif", in_chans=3, pages="3")
    assert found.facts == {"page": 3, "pages": 3}
    bands = np.asarray(found.pixels)
    np.testing.assert_array_equal(bands if bands.shape[2] == 3 else bands.transpose(1, 2, 0), np.asarray(pictures[2]))


def test_planes_behind_one_directory_count_as_pages(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    planes = np.random.default_rng(2).integers(0, 1000, (3, 9, 12), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", planes, imagej=True, metadata={"axes": "ZYX"})
    for number in (1, 3):
        found = read(tmp_path / "x.tif", in_chans=1, pages=str(number))
        assert found.facts == {"page": number, "pages": 3}
        np.testing.assert_array_equal(np.asarray(found.pixels), planes[number - 1 : number])


def test_a_frame_and_how_many_there_are(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from dicom_files import numbers, write, write_frames

    path = write_frames(tmp_path / "x.dcm", numbers(3, 6, 8), BitsStored=12)
    assert read(path, frames="2").facts == {"frame": 2, "frames": 3}
    assert read(path, frames="all").facts == {"frames": 3}
    one = write(tmp_path / "one.dcm", numbers(6, 8), BitsStored=12)
    for frames in ("", "1", "all"):
        assert read(one, frames=frames).facts == {}


def test_decisions_stand_in_the_manifest_of_all_tiles(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", 1)
    saved(tmp_path / "b.png", 6)
    inputs = expand_tiles(find_inputs([tmp_path / "a.png", tmp_path / "b.png"]), lambda item: (16, 16), 8, 8)
    export_features(TwoLevels(), Preprocess(size=(32, 32)), inputs, tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").open()]
    assert [line.get("orientation") for line in lines] == 4 * [None] + 4 * [6]
