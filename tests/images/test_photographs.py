"""Decoding photographs: what is converted, and what is refused instead of being cut down quietly."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tarfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from png_bytes import PNG_COLOUR_TYPES, bombs, chunk, png, png_of

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.read import open_raster, read_image

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def ramp() -> Image.Image:
    values = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    return Image.fromarray(values)


def rgb(raster: Raster) -> np.ndarray:
    assert isinstance(raster.pixels, Image.Image)
    assert raster.pixels.mode == "RGB"
    assert raster.white == 255
    return np.asarray(raster.pixels)


def test_rgb_comes_as_it_is(tmp_path: Path, ramp: Image.Image) -> None:
    ramp.save(tmp_path / "x.png")
    np.testing.assert_array_equal(rgb(read_image(tmp_path / "x.png")), np.asarray(ramp))


def test_grey_is_itu_r_601_luma(tmp_path: Path, ramp: Image.Image) -> None:
    ramp.save(tmp_path / "x.png")
    grey = read_image(tmp_path / "x.png", in_chans=1).pixels
    assert isinstance(grey, Image.Image)
    luma = np.asarray(ramp, np.float64) @ [0.299, 0.587, 0.114]
    assert np.abs(np.asarray(grey) - luma).max() <= 0.51


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, ramp: Image.Image, orientation: int) -> None:
    # What a viewer does with each value (EXIF 2.3, tag 0x0112), as numpy operations.
    upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("x.png", "x.tif"):
        ramp.save(tmp_path / name, exif=exif)
        np.testing.assert_array_equal(rgb(read_image(tmp_path / name)), upright(np.asarray(ramp)))


def test_palette_grey_and_alpha_become_rgb(tmp_path: Path, ramp: Image.Image) -> None:
    red = Image.new("P", (4, 4), 1)
    red.putpalette([0, 0, 0, 200, 10, 20])
    red.save(tmp_path / "palette.png")
    assert rgb(read_image(tmp_path / "palette.png"))[0, 0].tolist() == [200, 10, 20]

    Image.new("LA", (4, 4), (70, 128)).save(tmp_path / "la.png")
    assert rgb(read_image(tmp_path / "la.png"))[0, 0].tolist() == [70, 70, 70]

    with_alpha = ramp.convert("RGBA")
    with_alpha.putalpha(3)
    with_alpha.save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(rgb(read_image(tmp_path / "rgba.png")), np.asarray(ramp))

    Image.new("1", (4, 4), 1).save(tmp_path / "bits.png")
    assert rgb(read_image(tmp_path / "bits.png"))[0, 0].tolist() == [255, 255, 255]


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "x.jpg", quality=100)  # full magenta and yellow: red
    red, green, blue = rgb(read_image(tmp_path / "x.jpg"))[8, 8].tolist()
    assert (red > 245, green < 10, blue < 10) == (True, True, True)


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_16_bit_grey_keeps_its_precision(tmp_path: Path, name: str, in_chans: int) -> None:
    values = np.array([[0, 1, 255, 256], [257, 32768, 65534, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    found = read_image(tmp_path / name, in_chans)
    assert isinstance(found.pixels, np.ndarray)
    assert (found.pixels.dtype, found.pixels.shape, found.white) == (np.uint16, (in_chans, 2, 4), 65535)
    for band in found.pixels:
        np.testing.assert_array_equal(band, values)


def test_12_bit_tiff_is_divided_by_its_own_largest_value(tmp_path: Path) -> None:
    # Two pixels 0x800 and 0xFFF, packed in three bytes, in a TIFF written by hand.
    tags = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 3)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    ifd = struct.pack("<H", len(tags)) + directory + struct.pack("<I", 0)
    (tmp_path / "x.tif").write_bytes(b"II*\0" + struct.pack("<I", 12) + b"\x80\x0f\xff\0" + ifd)
    found = read_image(tmp_path / "x.tif", 1)
    np.testing.assert_array_equal(np.asarray(found.pixels), [[[0x800, 0xFFF]]])
    assert found.white == 0xFFF


def test_16_bit_tiff_with_white_as_zero_is_turned_round(tmp_path: Path) -> None:
    values = np.array([[0, 65535, 1000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "x.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "x.tif") as image:
        stored_white_is_zero = image.tag_v2[262] == 0  # type: ignore[attr-defined]
    if not stored_white_is_zero:
        data = (tmp_path / "x.tif").read_bytes()
        entry = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
        assert data.count(entry) == 1
        (tmp_path / "x.tif").write_bytes(data.replace(entry, struct.pack("<HHIHH", 262, 3, 1, 0, 0)))
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "x.tif", 1).pixels)[0], 65535 - values)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("colour", ["rgb", "rgba", "grey", "grey+alpha"])
def test_e3_16_bit_png_keeps_every_bit(tmp_path: Path, colour: str, interlaced: bool) -> None:
    channels = PNG_COLOUR_TYPES[colour][1]
    values = np.random.default_rng(7).integers(0, 65536, (9, 11, channels), dtype=np.uint16)
    (tmp_path / "deep.png").write_bytes(png_of(values, colour, interlaced))
    found = read_image(tmp_path / "deep.png", 3 if channels > 2 else 1)
    assert isinstance(found.pixels, np.ndarray)
    assert (found.white, found.pixels.dtype) == (65535, np.uint16)
    np.testing.assert_array_equal(found.pixels, values.transpose(2, 0, 1)[: 3 if channels > 2 else 1])


def test_e3_16_bit_colour_becomes_grey_without_losing_depth(tmp_path: Path) -> None:
    values = np.random.default_rng(8).integers(0, 65536, (5, 4, 3), dtype=np.uint16)
    (tmp_path / "deep.png").write_bytes(png_of(values, "rgb"))
    found = read_image(tmp_path / "deep.png", 1)
    np.testing.assert_allclose(np.asarray(found.pixels)[0], values @ np.array([0.299, 0.587, 0.114]), rtol=1e-5)


def test_e3_16_bit_colour_is_turned_upright(tmp_path: Path) -> None:
    values = np.random.default_rng(9).integers(0, 65536, (5, 4, 3), dtype=np.uint16)
    exif = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")  # orientation 6
    plain = png_of(values, "rgb")
    pixels, end = plain.index(b"IDAT") - 4, plain.index(b"IEND") - 4
    upright = np.rot90(values, -1).transpose(2, 0, 1)
    for name, position in (("before.png", pixels), ("after.png", end)):
        (tmp_path / name).write_bytes(plain[:position] + exif + plain[position:])
        with open_raster(ImageInput(name, str(tmp_path / name))) as file:
            assert (file.height, file.width, file.num_bands) == (4, 5, 3), name
            np.testing.assert_array_equal(np.asarray(file.read().pixels), upright)


def test_several_pages_are_refused(tmp_path: Path, ramp: Image.Image) -> None:
    for name in ("pages.tif", "animation.gif"):
        other = Image.eval(ramp, lambda v: 255 - v)
        ramp.save(tmp_path / name, save_all=True, append_images=[other])
        with pytest.raises(InvalidInputError, match="frames or pages"):
            read_image(tmp_path / name)


def test_e2_bombs_cost_an_error_and_no_memory(tmp_path: Path) -> None:
    expected = bombs(tmp_path)
    code = (
        "import resource, sys, zoo.core.images.rasters.photograph\n"
        "from zoo.core.images.rasters.read import *\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_image(path)\n"
        "    except InvalidInputError as error: print(error.message)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-P", "-W", "ignore", "-c", code, *(str(tmp_path / name) for name in expected)]
    *said, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(said) == len(expected)
    for line, (name, reason) in zip(said, expected.items(), strict=True):
        assert line.startswith(f"{tmp_path / name}: ")
        assert reason in line
    assert int(grown) < 32 * 1024  # kilobytes


def test_the_limit_can_be_raised_above_pillows_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.new("L", (8, 6)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png", 1, ReadOptions(max_pixels=48)).size == (8, 6)
    assert Image.MAX_IMAGE_PIXELS == 48


def test_a_damaged_deep_png_gives_an_error_or_an_image_and_nothing_else(tmp_path: Path) -> None:
    random = np.random.default_rng(10)
    for colour in ("rgb", "grey+alpha"):
        values = random.integers(0, 65536, (9, 9, PNG_COLOUR_TYPES[colour][1]), dtype=np.uint16)
        good = png_of(values, colour)
        for _ in range(40):
            damaged = bytearray(good)
            damaged[random.integers(8, len(good))] = random.integers(0, 256)
            (tmp_path / "x.png").write_bytes(damaged[: random.integers(30, len(good) + 1)])
            with suppress(InvalidInputError):
                assert read_image(tmp_path / "x.png").num_bands == 3


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "x.png")
    with pytest.raises(InvalidInputError, match="8x6 pixels, more than the limit"):
        read_image(tmp_path / "x.png", 3, ReadOptions(max_pixels=6 * 8 - 1))
    assert read_image(tmp_path / "x.png", 3, ReadOptions(max_pixels=6 * 8)).size == (8, 6)


def test_a_header_that_promises_gigapixels_is_refused(tmp_path: Path) -> None:
    bomb = bytearray(png(4, 3))
    bomb[16:24] = struct.pack(">II", 50_000, 50_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(InvalidInputError, match=r"bomb\.png.*more (pixels )?than the limit"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "content",
    [b"", b"not an image", b"\xff\xd8\xff", (DATA / "chelsea.png").read_bytes()[:1000], b"II*\0\xff\xff\xff\xff"],
    ids=["empty", "text", "jpeg marker", "truncated", "tiff without directory"],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"bad\.jpg: ") as raised:
        read_image(tmp_path / "bad.jpg")
    assert raised.value.path == str(tmp_path / "bad.jpg")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file .*gone\.jpg"):
        read_image(tmp_path / "gone.jpg")


def test_a_photograph_has_no_25_channels() -> None:
    with pytest.raises(InvalidInputError, match=r"coffee\.png: The model reads 25 channels, 3 bands") as raised:
        read_image(DATA / "coffee.png", in_chans=25)
    assert "--in-chans 3" in raised.value.hint
    assert "--bands" in raised.value.hint


def test_windows_of_a_photograph_decode_it_once(tmp_path: Path, ramp: Image.Image) -> None:
    ramp.save(tmp_path / "x.png")
    with open_raster(ImageInput("x", str(tmp_path / "x.png"))) as file:
        first = file.read(Window(1, 2, 4, 3))
        os.truncate(tmp_path / "x.png", 30)
        second = file.read(Window(0, 0, 8, 1))
    np.testing.assert_array_equal(rgb(first), np.asarray(ramp)[2:5, 1:5])
    np.testing.assert_array_equal(rgb(second), np.asarray(ramp)[:1])


@pytest.mark.parametrize("window", [Window(-1, 0, 2, 2), Window(7, 0, 2, 2), Window(0, 0, 0, 1), Window(0, 5, 1, 2)])
def test_a_window_must_lie_within_the_image(tmp_path: Path, ramp: Image.Image, window: Window) -> None:
    ramp.save(tmp_path / "x.png")
    with pytest.raises(InvalidInputError, match=r"x\.png: the window.* not within the 8x6"):
        read_image(ImageInput("x", str(tmp_path / "x.png"), window=window))


def test_fast_decoding_never_goes_below_the_smallest_size(tmp_path: Path) -> None:
    photo = Image.open(DATA / "chelsea.png").convert("RGB")  # 451 x 300
    photo.save(tmp_path / "x.jpg", quality=95)
    sizes = {least: read_image(tmp_path / "x.jpg", 3, ReadOptions(min_size=least)).size for least in (1, 37, 100, 151)}
    assert sizes == {1: (57, 38), 37: (57, 38), 100: (226, 150), 151: (451, 300)}
    assert read_image(tmp_path / "x.jpg").size == (451, 300)
    with open_raster(ImageInput("x", str(tmp_path / "x.jpg")), ReadOptions(min_size=10)) as file:
        assert (file.width, file.height) == (451, 300)
        assert file.read(Window(0, 0, 451, 300)).size == (451, 300)


def test_a_member_of_an_archive_is_read_in_place(tmp_path: Path, ramp: Image.Image) -> None:
    ramp.save(tmp_path / "x.png")
    ramp.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "y.png")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "x.png", "x.png")
        archive.add(tmp_path / "y.png", "y.png")
    with tarfile.open(tmp_path / "a.tar") as archive:
        members = {m.name: (m.offset_data, m.size) for m in archive.getmembers()}
    items = [ImageInput(name, str(tmp_path / "a.tar"), name, *place) for name, place in members.items()]
    np.testing.assert_array_equal(rgb(read_image(items[0])), np.asarray(ramp))
    np.testing.assert_array_equal(rgb(read_image(items[1])), np.asarray(ramp)[::-1, ::-1])
    with pytest.raises(InvalidInputError, match=r"a\.tar/x\.png: "):
        read_image(items[0]._replace(size=items[0].size // 2))
    with pytest.raises(InvalidInputError, match=r"a\.tar' ends .* before its member 'y\.png' does"):
        read_image(items[1]._replace(offset=1 << 20))


def test_bands_of_a_photograph_can_be_chosen(tmp_path: Path, ramp: Image.Image) -> None:
    ramp.save(tmp_path / "x.png")
    swapped = read_image(tmp_path / "x.png", 3, ReadOptions(bands=("3", "2", "1")))
    np.testing.assert_array_equal(rgb(swapped), np.asarray(ramp)[..., ::-1])
    two = read_image(tmp_path / "x.png", 2, ReadOptions(bands=("1", "3")))
    np.testing.assert_array_equal(two.pixels, np.asarray(ramp).transpose(2, 0, 1)[[0, 2]])
    with pytest.raises(InvalidInputError, match=r"reads 3 channels, 2 bands were chosen"):
        read_image(tmp_path / "x.png", 3, ReadOptions(bands=("1", "3")))
