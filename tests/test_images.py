"""Finding photographs and decoding them: what is converted, and what is refused instead of being cut down quietly."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.core import images
from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.images import find_inputs, read_image

DATA = Path(__file__).parent / "data"
PNG_COLOUR_TYPES = {"grey": (0, 1), "rgb": (2, 3), "grey+alpha": (4, 2), "rgba": (6, 4)}


def png(depth: int, colour: str, width: int = 4, height: int = 3) -> bytes:
    """A PNG written by hand: Pillow does not write 16-bit colour."""
    colour_type, channels = PNG_COLOUR_TYPES[colour]
    row = bytes(range(width * channels * depth // 8))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    pixels = zlib.compress((b"\0" + row) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.fixture
def ramp() -> Image.Image:
    values = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    return Image.fromarray(values)


# ---------------------------------------------------------------- finding


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_a_folder_is_searched_recursively_and_sorted_as_text(tmp_path: Path) -> None:
    touch(tmp_path / "b.jpg", tmp_path / "a" / "2.PNG", tmp_path / "a" / "10.webp", tmp_path / "a.tif")
    touch(tmp_path / "notes.txt", tmp_path / ".hidden.png", tmp_path / ".git" / "x.png", tmp_path / "a" / "._2.png")
    found = find_inputs([tmp_path])
    assert [item.id for item in found] == ["a.tif", "a/10.webp", "a/2.PNG", "b.jpg"]
    assert [item.path for item in found] == [tmp_path / item.id for item in found]


def test_several_inputs_keep_the_paths_they_were_given_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "train" / "1.jpg", tmp_path / "val" / "1.jpg", tmp_path / "photo.dat")
    monkeypatch.chdir(tmp_path)
    found = find_inputs(["val", "photo.dat", "train/", "./val/1.jpg"])
    assert [item.id for item in found] == ["photo.dat", "train/1.jpg", "val/1.jpg"]


def test_links_to_folders_do_not_loop(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "2.jpg").symlink_to(tmp_path / "a" / "1.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    assert [item.id for item in find_inputs([tmp_path])] == ["2.jpg", "a/1.jpg"]


def test_a_pipe_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(NotFoundError, match="No image"):
        find_inputs([tmp_path])
    with pytest.raises(InvalidInputError, match="neither a file nor a folder"):
        find_inputs([tmp_path / "pipe.jpg"])


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"missing\.jpg"):
        find_inputs([DATA, tmp_path / "missing.jpg"])


# ---------------------------------------------------------------- decoding


def rgb(image: object) -> np.ndarray:
    assert isinstance(image, Image.Image)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_rgb_comes_as_it_is(tmp_path: Path, ramp: Image.Image) -> None:
    ramp.save(tmp_path / "x.png")
    np.testing.assert_array_equal(rgb(read_image(tmp_path / "x.png")), np.asarray(ramp))


def test_grey_is_itu_r_601_luma(tmp_path: Path, ramp: Image.Image) -> None:
    ramp.save(tmp_path / "x.png")
    grey = read_image(tmp_path / "x.png", in_chans=1)
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
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape) == (np.float32, (in_chans, 2, 4))
    for band in found:
        np.testing.assert_allclose(band, values / 65535, rtol=1e-7)


def test_12_bit_tiff_is_divided_by_its_own_largest_value(tmp_path: Path) -> None:
    # Two pixels 0x800 and 0xFFF, packed in three bytes, in a TIFF written by hand.
    tags = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 3)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    ifd = struct.pack("<H", len(tags)) + directory + struct.pack("<I", 0)
    (tmp_path / "x.tif").write_bytes(b"II*\0" + struct.pack("<I", 12) + b"\x80\x0f\xff\0" + ifd)
    found = read_image(tmp_path / "x.tif", 1)
    np.testing.assert_allclose(np.asarray(found), [[[0x800 / 0xFFF, 1.0]]], rtol=1e-6)


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
    np.testing.assert_allclose(np.asarray(read_image(tmp_path / "x.tif", 1))[0], 1 - values / 65535, atol=1e-6)


@pytest.mark.parametrize("colour", ["rgb", "rgba", "grey+alpha"])
def test_16_bit_colour_is_refused_rather_than_halved(tmp_path: Path, colour: str) -> None:
    (tmp_path / "deep.png").write_bytes(png(16, colour))
    with pytest.raises(InvalidInputError, match=r"deep\.png: 16 bits per channel"):
        read_image(tmp_path / "deep.png")


def test_16_bit_colour_tiff_is_refused(tmp_path: Path) -> None:
    tags = [(256, 4, 1), (257, 4, 1), (258, 3, 16), (259, 3, 1), (262, 3, 2), (273, 4, 8), (277, 3, 3), (279, 4, 6)]
    directory = b""
    for tag, kind, value in tags:
        directory += struct.pack("<HHI", tag, kind, 3 if tag == 258 else 1)
        directory += struct.pack("<I", 200 if tag == 258 else value)
    ifd = struct.pack("<H", len(tags)) + directory + struct.pack("<I", 0)
    data = b"II*\0" + struct.pack("<I", 16) + bytes(8) + ifd
    (tmp_path / "x.tif").write_bytes(data.ljust(200, b"\0") + struct.pack("<HHH", 16, 16, 16))
    with Image.open(tmp_path / "x.tif") as image:
        assert image.mode == "RGB"  # what Pillow would hand out: half of every value
    with pytest.raises(InvalidInputError, match="16 bits per channel"):
        read_image(tmp_path / "x.tif")


def test_numbers_of_unknown_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.zeros((2, 2), np.int32)).save(tmp_path / "int.tif")
    for name in ("float.tif", "int.tif"):
        with pytest.raises(InvalidInputError, match="unknown range"):
            read_image(tmp_path / name)


def test_several_pages_are_refused(tmp_path: Path, ramp: Image.Image) -> None:
    for name in ("pages.tif", "animation.gif"):
        other = Image.eval(ramp, lambda v: 255 - v)
        ramp.save(tmp_path / name, save_all=True, append_images=[other])
        with pytest.raises(InvalidInputError, match="2 frames or pages"):
            read_image(tmp_path / name)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 6 * 8 - 1)
    Image.new("RGB", (8, 6)).save(tmp_path / "x.png")
    with pytest.raises(InvalidInputError, match="8x6 pixels, more than the limit"):
        read_image(tmp_path / "x.png")


def test_a_header_that_promises_gigapixels_is_refused(tmp_path: Path) -> None:
    bomb = bytearray(png(8, "rgb"))
    bomb[16:24] = struct.pack(">II", 50_000, 50_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(InvalidInputError, match=r"bomb\.png.*more pixels than the limit"):
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
    with pytest.raises(InvalidInputError, match=r"gone\.jpg: could not be read: No such file"):
        read_image(tmp_path / "gone.jpg")


def test_a_photograph_has_no_25_channels() -> None:
    with pytest.raises(InvalidInputError, match=r"25 channels.* has 3"):
        read_image(DATA / "coffee.png", in_chans=25)
