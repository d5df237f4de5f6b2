"""Formats of pictures beside the common ones: read as an independent reader has them, or called by their name."""

from __future__ import annotations

import io
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features
from png_bytes import chunk

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.find import EXTENSIONS
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.read import open_raster, read_image


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    y, x = np.mgrid[0:20, 0:30]
    return Image.fromarray(np.stack([8 * x, 12 * y, 5 * (x + y)], -1).astype(np.uint8))


def array(raster: Raster) -> np.ndarray:
    values = np.asarray(raster.pixels)
    return values.transpose(2, 0, 1) if isinstance(raster.pixels, Image.Image) and values.ndim == 3 else values


def decoded(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("name", "kind", "feature"),
    [("x.avif", "AVIF", "avif"), ("x.jp2", "JPEG2000", "jpg_2000"), ("x.j2k", "JPEG2000", "jpg_2000"),
     ("x.ppm", "PPM", "jpg"), ("x.jfif", "JPEG", "jpg"), ("x.webp", "WEBP", "webp")],
)  # fmt: skip
def test_what_pillow_reads(tmp_path: Path, picture: Image.Image, name: str, kind: str, feature: str) -> None:
    if not features.check(feature):
        pytest.skip(f"Pillow without {feature}")
    picture.save(tmp_path / name, kind)
    np.testing.assert_array_equal(array(read_image(tmp_path / name, 3)), decoded(tmp_path / name))
    assert Path(name).suffix in EXTENSIONS


@pytest.mark.parametrize("most", [1, 15, 255, 256, 1000, 65535])
@pytest.mark.parametrize("kind", [5, 6])
def test_pnm_of_any_largest_value(tmp_path: Path, most: int, kind: int) -> None:
    channels = 1 if kind == 5 else 3
    values = np.random.default_rng(1).integers(0, most + 1, (4, 5, channels))
    data = values.astype(">u2" if most > 255 else "u1").tobytes()
    (tmp_path / "x.pnm").write_bytes(b"P%d # a comment\n5\t4\n#another\n%d\n" % (kind, most) + data)
    found = read_image(tmp_path / "x.pnm", channels)
    np.testing.assert_array_equal(array(found), values.transpose(2, 0, 1))
    assert found.white == most
    (tmp_path / "x.pnm").write_bytes(b"P%d 5 4 %d\n" % (kind, most) + data[:-1])
    with pytest.raises(InvalidInputError, match="ends early"):
        read_image(tmp_path / "x.pnm", channels)


def test_plain_pnm_and_bitmaps(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"P2 2 1 255\n7 200\n")
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "x", 1).pixels), [[7, 200]])
    (tmp_path / "x").write_bytes(b"P1 2 1\n1 0\n")
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "x", 1).pixels), [[0, 255]])
    (tmp_path / "x").write_bytes(b"P3 1 1 # deep\n1000\n7 200 999\n")
    with pytest.raises(InvalidInputError, match="only 8 would be read"):
        read_image(tmp_path / "x", 3)


# ---------------------------------------------------------------- nothing is cut to 8 bits


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_jpeg_2000_of_grey_keeps_its_bits(tmp_path: Path, bits: int) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    values = np.random.default_rng(2).integers(0, 2**bits, (9, 7)).astype(np.uint16 if bits > 8 else np.uint8)
    for codec in ("jp2", "j2k"):
        data = imagecodecs.jpeg2k_encode(values, bitspersample=bits, reversible=True, codecformat=codec)
        (tmp_path / "x.jp2").write_bytes(data)
        found = read_image(tmp_path / "x.jp2", 1)
        np.testing.assert_array_equal(np.asarray(found.pixels).reshape(9, 7), values)
        assert found.white == 2**bits - 1


def test_deep_colour_that_would_be_cut_is_refused(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    values = np.random.default_rng(3).integers(0, 1024, (16, 16, 3)).astype(np.uint16)
    (tmp_path / "x.jp2").write_bytes(imagecodecs.jpeg2k_encode(values, bitspersample=10, reversible=True))
    (tmp_path / "x.avif").write_bytes(imagecodecs.avif_encode(values, bitspersample=10))
    for name in ("x.jp2", "x.avif"):
        with pytest.raises(InvalidInputError, match=r"10 bits per channel, of which only 8"):
            read_image(tmp_path / name, 3)


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 3), ("uint8", 1), ("uint16", 3), ("uint8", 4)])
def test_jpeg_xl(tmp_path: Path, dtype: str, channels: int) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    values = np.random.default_rng(4).integers(0, np.iinfo(dtype).max, (11, 17, channels)).astype(dtype)
    data = imagecodecs.jpegxl_encode(values[..., 0] if channels == 1 else values, lossless=True)
    (tmp_path / "x.jxl").write_bytes(data)
    bands = min(channels, 3)
    found = read_image(tmp_path / "x.jxl", bands)
    np.testing.assert_array_equal(array(found), values.transpose(2, 0, 1)[:bands])
    assert found.white == np.iinfo(dtype).max


@pytest.mark.parametrize("bits", [4, 8, 10, 12, 16])
def test_the_white_of_a_jpeg_xl_is_that_of_its_bits(tmp_path: Path, bits: int) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    values = np.random.default_rng(6).integers(0, 2**bits, (9, 7)).astype(np.uint16 if bits > 8 else np.uint8)
    values[0, 0] = 2**bits - 1
    (tmp_path / "x.jxl").write_bytes(imagecodecs.jpegxl_encode(values, lossless=True, bitspersample=bits))
    found = read_image(tmp_path / "x.jxl", 1)
    np.testing.assert_array_equal(array(found)[0], values)
    assert found.white == 2**bits - 1


def test_the_size_of_a_jpeg_xl_is_known_before_it_is_decoded(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    for height, width in ((8, 8), (256, 256), (300, 400), (257, 90), (1, 5000), (720, 1280)):
        (tmp_path / "x.jxl").write_bytes(imagecodecs.jpegxl_encode(np.zeros((height, width), np.uint8)))
        with pytest.raises(InvalidInputError, match=f"{width}x{height} pixels, more than the limit"):
            read_image(tmp_path / "x.jxl", 1, ReadOptions(max_pixels=1))


# ---------------------------------------------------------------- HEIC


def heic(values: np.ndarray, mode: str, path: Path) -> Path:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_bytes(mode, (values.shape[1], values.shape[0]), values.tobytes()).save(path, quality=-1)
    return path


def test_heic_is_what_pillow_heif_decodes(tmp_path: Path, picture: Image.Image) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    path = heic(np.asarray(picture), "RGB", tmp_path / "x.heic")
    expected = np.asarray(pillow_heif.open_heif(path)).transpose(2, 0, 1)
    found = read_image(path, 3)
    np.testing.assert_array_equal(array(found), expected)
    assert found.white == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heic_is_turned_once(tmp_path: Path, orientation: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    y, x = np.mgrid[0:64, 0:96]
    stored = Image.fromarray(np.stack([2 * x, 3 * y, x + y], -1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = pillow_heif.from_pillow(stored)
    file.info["exif"] = exif.tobytes()  # from which the encoder makes irot and imir
    file.save(tmp_path / "x.heic", quality=-1)
    png = io.BytesIO()
    stored.save(png, "PNG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(png))
    with open_raster(ImageInput("x", str(tmp_path / "x.heic")), ReadOptions(in_chans=3)) as heif:
        assert (heif.width, heif.height) == upright.size
        found = array(heif.read())
    assert np.abs(found.astype(int) - np.asarray(upright).transpose(2, 0, 1)).max() <= 4


def test_ten_bits_of_a_heic_are_kept(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    grey = np.linspace(0, 1023, 64 * 64).astype(np.uint16).reshape(64, 64)
    found = read_image(heic(grey << 6, "L;16", tmp_path / "x.heic"), 1)
    assert found.white == 1023
    assert np.asarray(found.pixels).max() > 1000
    assert np.abs(array(found)[0].astype(int) - grey).max() < 16


def test_the_packages_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(600))
    (tmp_path / "x.jxl").write_bytes(b"\xff\x0a" + bytes(600))
    for name, package, extra in (("x.heic", "pillow_heif", "heif"), ("x.jxl", "imagecodecs", "jxl")):
        with pytest.raises(InvalidInputError, match=f"needs {package}, which is not installed") as raised:
            read_image(tmp_path / name)
        assert f"'zoo-cli[{extra}]'" in raised.value.hint


def test_a_pillow_without_avif_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda _name: False)
    (tmp_path / "x.avif").write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(60))
    with pytest.raises(InvalidInputError, match=r"AVIF, which the installed Pillow .* was built without"):
        read_image(tmp_path / "x.avif")


# ---------------------------------------------------------------- films, and what is no picture


@pytest.mark.parametrize(
    ("name", "what"), [("x.gif", "animated GIF"), ("x.webp", "animated WebP"), ("x.png", "animated PNG")]
)
def test_films_are_called_so(tmp_path: Path, picture: Image.Image, name: str, what: str) -> None:
    picture.save(tmp_path / name, save_all=True, append_images=[Image.eval(picture, lambda v: 255 - v)])
    with pytest.raises(InvalidInputError, match=rf"frames or pages \(an {what}\)"):
        read_image(tmp_path / name)


def test_an_avif_of_several_frames_is_called_a_sequence(tmp_path: Path, picture: Image.Image) -> None:
    pytest.importorskip("PIL._avif")
    picture.save(tmp_path / "x.avif", save_all=True, append_images=[Image.eval(picture, lambda v: 255 - v)])
    with pytest.raises(InvalidInputError, match="an image sequence"):
        read_image(tmp_path / "x.avif")


@pytest.mark.parametrize("size", [(1, 1), (300, 17), (17, 300), (64, 64)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_the_data_of_an_avif_say_its_size_too(tmp_path: Path, size: tuple[int, int], mode: str) -> None:
    pytest.importorskip("PIL._avif")
    file = io.BytesIO()
    Image.new(mode, size).save(file, "AVIF", speed=10)
    data = bytearray(file.getvalue())
    place = -1
    while (place := data.find(b"ispe", place + 1)) >= 0:
        data[place + 8 : place + 16] = struct.pack(">II", 1, 1)  # what the boxes say is what Pillow tells
    (tmp_path / "x.avif").write_bytes(data)
    if size == (1, 1):
        return
    with pytest.raises(InvalidInputError, match=f"{size[0]}x{size[1]} pixels, more than the limit"):
        read_image(tmp_path / "x.avif", 3, ReadOptions(max_pixels=1))


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"CDF\x01", "NetCDF"), (b"\x89HDF\r\n\x1a\n", "HDF5"), (b"MATLAB 5.0 MAT-file", "MATLAB"),
        (struct.pack("<i", 348), "NIfTI"), (b"\x76\x2f\x31\x01", "OpenEXR"), (b"\0\0\x01\0\x01\0", "icon"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"), (b"<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"8BPS", "Photoshop"), (b"%PDF-1.7", "PDF"), (b"\0\0\0\x18ftypmp42", "film"), (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"), (b"\x1f\x8b\x08", "gzip"), (b"P7\n", "PAM"),
    ],
)  # fmt: skip
def test_other_files_are_called_by_their_name(tmp_path: Path, start: bytes, name: str) -> None:
    (tmp_path / "x").write_bytes(start + bytes(600))
    with pytest.raises(InvalidInputError, match=name) as raised:
        read_image(tmp_path / "x")
    assert raised.value.hint


def test_a_tga_is_known_by_its_end(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "x.tga")
    with pytest.raises(InvalidInputError, match="TGA"):
        read_image(tmp_path / "x.tga")


# ---------------------------------------------------------------- metadata never costs the picture


def test_metadata_of_a_png_is_not_decompressed(tmp_path: Path, picture: Image.Image) -> None:
    import zlib

    picture.save(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    large = zlib.compress(bytes(5_000_000), 9)
    damaged = bytearray(chunk(b"gAMA", b"\0\0\xb1\x8f"))
    damaged[-1] ^= 1  # a wrong checksum
    for extra in (
        chunk(b"zTXt", b"parameters\0\0" + large),
        chunk(b"iCCP", b"profile\0\0" + large),
        chunk(b"iCCP", b"profile\0\0" + b"no zlib"),
        chunk(b"iTXt", b"a\0\1\0\0\0" + large),
        bytes(damaged),
    ):
        (tmp_path / "y.png").write_bytes(data[:33] + extra + data[33:])
        np.testing.assert_array_equal(array(read_image(tmp_path / "y.png", 3)), np.asarray(picture).transpose(2, 0, 1))


def test_exif_that_names_itself_takes_no_memory(tmp_path: Path, picture: Image.Image) -> None:
    from faults.changed_images import exif_of_itself

    file = io.BytesIO()
    picture.save(file, "JPEG")
    block = exif_of_itself(type("Largest", (), {"choice": staticmethod(max)}))  # type: ignore[arg-type]
    (tmp_path / "x.jpg").write_bytes(file.getvalue()[:2] + 16 * block + file.getvalue()[2:])
    code = (
        "import json, resource, sys\nfrom zoo.core.images.rasters.read import read_image\n"
        "read_image(sys.argv[1])\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "size = read_image(sys.argv[2]).size\n"
        "print(json.dumps([size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))\n"
    )
    import subprocess

    (tmp_path / "plain.jpg").write_bytes(file.getvalue())
    command = [sys.executable, "-P", "-c", code, str(tmp_path / "plain.jpg"), str(tmp_path / "x.jpg")]
    size, grown = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert size == [30, 20]
    assert grown < 16 * 1024  # kilobytes
