"""TIFF of any number of bands: layouts, types, compression, bombs; what tifffile wrote is the truth."""

from __future__ import annotations

import struct
import sys
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.core.errors import ExitCode, InvalidInputError
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.rasters import tiff_header
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.read import open_raster, read_image

tifffile = pytest.importorskip("tifffile")

LAYOUTS = ("contig", "separate", "pages")


def numbers(*shape: int, dtype: str = "uint16") -> np.ndarray:
    """Random values over most of the type's range."""
    random = np.random.default_rng(5)
    if np.dtype(dtype).kind == "f":
        return random.standard_normal(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min // 2, limits.max // 2, shape).astype(dtype)


def write(path: Path, values: np.ndarray, layout: str = "separate", **options: Any) -> Path:
    """Write (bands, height, width) in a layout."""
    options = {"photometric": "minisblack", **options}
    if layout == "contig":
        tifffile.imwrite(path, values.transpose(1, 2, 0), planarconfig="contig", **options)
    elif layout == "separate":
        tifffile.imwrite(path, values, planarconfig="separate", **options)
    else:
        tifffile.imwrite(path, values, **options)
    return path


def read(path: Path, window: Window | None = None, **options: Any) -> Raster:
    with open_raster(ImageInput(path.name, str(path)), ReadOptions(**options)) as file:
        return file.read(window)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_e3_e4_every_layout_type_and_byte_order(tmp_path: Path, layout: str, dtype: str, byteorder: str) -> None:
    values = numbers(5, 20, 30, dtype=dtype)
    found = read(write(tmp_path / "x.tif", values, layout, byteorder=byteorder))
    assert isinstance(found.pixels, np.ndarray)
    assert (found.pixels.dtype, found.pixels.dtype.isnative) == (np.dtype(dtype), True)
    np.testing.assert_array_equal(found.pixels, values)
    assert found.white == (1 if dtype.startswith("float") else np.iinfo(dtype).max)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "zstd"])
def test_windows_of_strips_and_tiles(
    tmp_path: Path, layout: str, tile: tuple[int, int] | None, compression: str | None
) -> None:
    pytest.importorskip("imagecodecs")
    values = numbers(4, 50, 70)
    predictor = compression in ("lzw", "deflate", "zstd")
    more = {"tile": tile} if tile else {"rowsperstrip": 7}
    path = write(tmp_path / "x.tif", values, layout, compression=compression, predictor=predictor, **more)
    with open_raster(ImageInput("x", str(path))) as file:
        assert (file.num_bands, file.height, file.width) == (4, 50, 70)
        for left, top, width, height in (
            (0, 0, 70, 50),
            (5, 6, 7, 8),
            (31, 15, 2, 2),
            (60, 40, 10, 10),
            (0, 49, 70, 1),
        ):
            found = file.read(Window(left, top, width, height)).pixels
            np.testing.assert_array_equal(found, values[:, top : top + height, left : left + width])


def test_a_window_reads_only_the_tiles_it_touches(tmp_path: Path) -> None:
    values = numbers(2, 64, 64)
    path = write(tmp_path / "x.tif", values, tile=(16, 16))
    with tifffile.TiffFile(path) as file:
        damaged = file.pages[0].dataoffsets[5]  # second row, second column of the first band
        end = file.pages[0].dataoffsets[-1]
    with path.open("r+b") as raw:
        raw.seek(damaged)
        raw.write(bytes(16 * 16 * 2))
        raw.truncate(end)
    np.testing.assert_array_equal(read(path, Window(0, 0, 64, 16)).pixels, values[:, :16])
    assert not np.array_equal(read(path, Window(16, 16, 16, 16)).pixels[0], values[0, 16:32, 16:32])
    with pytest.raises(InvalidInputError, match=r"x\.tif: strip or tile 31 is cut short"):
        read(path)


def test_12_bit_bands_are_divided_by_4095(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    values = np.random.default_rng(1).integers(0, 4096, (3, 6, 8), dtype=np.uint16)
    packed = b"".join(
        bytes((a >> 4, (a & 15) << 4 | b >> 8, b & 255)) for a, b in values.transpose(1, 2, 0).reshape(-1, 2).tolist()
    )
    tags = [(256, 3, 1, 8), (257, 3, 1, 6), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 256)]
    tags += [(277, 3, 1, 3), (278, 3, 1, 6), (279, 4, 1, len(packed)), (284, 3, 1, 1)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    data = (b"II*\0" + struct.pack("<I", 8) + directory).ljust(200, b"\0") + struct.pack("<HHH", 12, 12, 12)
    (tmp_path / "x.tif").write_bytes(data.ljust(256, b"\0") + packed)
    found = read(tmp_path / "x.tif")
    assert found.white == 4095
    np.testing.assert_array_equal(found.pixels, values)


def test_e3_16_bit_colour_keeps_its_depth_and_serves_a_grey_model(tmp_path: Path) -> None:
    values = numbers(3, 6, 7)
    path = write(tmp_path / "x.tif", values, "contig", photometric="rgb")
    assert read(path).white == 65535
    np.testing.assert_array_equal(read_image(path).pixels, values)
    luma = np.tensordot([0.299, 0.587, 0.114], values, 1)
    np.testing.assert_allclose(np.asarray(read_image(path, 1).pixels)[0], luma, rtol=1e-5)


def test_e3_declared_alpha_is_a_band_only_for_who_reads_as_many(tmp_path: Path) -> None:
    values = numbers(4, 6, 7)
    path = write(tmp_path / "x.tif", values, "contig", photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(path, 3).pixels, values[:3])
    np.testing.assert_array_equal(read_image(path, 4).pixels, values)
    np.testing.assert_array_equal(read_image(path, 2, ReadOptions(bands=("4", "1"))).pixels, values[[3, 0]])
    eight = write(tmp_path / "8.tif", numbers(4, 6, 7, dtype="uint8"), "contig", photometric="rgb", extrasamples=[2])
    assert isinstance(read_image(eight, 3).pixels, Image.Image)
    np.testing.assert_array_equal(read_image(eight, 4).pixels, numbers(4, 6, 7, dtype="uint8"))


def test_e3_white_is_zero_is_turned_round(tmp_path: Path) -> None:
    values = numbers(1, 6, 7)
    path = write(tmp_path / "x.tif", values, "pages", photometric="miniswhite")
    np.testing.assert_array_equal(read(path, bands=("1",)).pixels, 65535 - values)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
def test_e3_plain_tiff_is_what_pillow_converts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, compression: str
) -> None:
    if compression == "jpeg" and mode not in ("L", "RGB", "CMYK", "YCbCr"):
        pytest.skip("no JPEG of this mode")
    monkeypatch.setitem(sys.modules, "tifffile", None)  # no extra is needed
    colours = Image.fromarray(numbers(20, 30, 3, dtype="uint8"))
    grey = Image.fromarray(numbers(20, 30, dtype="uint8"))
    image = Image.merge("LA", (grey, grey)) if mode == "LA" else (grey if mode == "1" else colours).convert(mode)
    image.save(tmp_path / "x.tif", compression=compression)
    with Image.open(tmp_path / "x.tif") as stored:
        expected = np.asarray(stored.convert("RGB"))
    found = read_image(tmp_path / "x.tif", 3).pixels
    assert isinstance(found, Image.Image)
    np.testing.assert_array_equal(np.asarray(found), expected)
    chosen = read_image(tmp_path / "x.tif", 1, ReadOptions(bands=("1",))) if mode in ("P", "RGB", "CMYK") else None
    assert chosen is None or np.array_equal(np.asarray(chosen.pixels), expected[..., 0])


def test_e3_deep_inks_and_other_colour_spaces_are_refused(tmp_path: Path) -> None:
    for photometric, bands in (("separated", 4), ("cielab", 3), ("ycbcr", 3)):
        path = write(tmp_path / "x.tif", numbers(bands, 6, 8), "contig", photometric=photometric)
        with pytest.raises(InvalidInputError, match="in the colour space"):
            read(path)


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint32"])
def test_e3_numbers_of_unknown_range_are_no_grey_picture(tmp_path: Path, dtype: str) -> None:
    values = numbers(1, 6, 7, dtype=dtype)
    path = write(tmp_path / "x.tif", values, "pages")
    np.testing.assert_array_equal(read_image(path, 1).pixels, values)
    with pytest.raises(InvalidInputError, match="reads 3 channels, 1 bands"):
        read_image(path, 3)


def test_overviews_are_no_bands_and_a_mask_says_where_data_is(tmp_path: Path) -> None:
    values, mask = numbers(3, 32, 32), np.random.default_rng(2).integers(0, 2, (32, 32)).astype(bool)
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(values, photometric="minisblack", planarconfig="separate")
        writer.write(values[:, ::2, ::2], photometric="minisblack", planarconfig="separate", subfiletype=1)
        writer.write(mask, photometric="mask", subfiletype=4)
    found = read(tmp_path / "x.tif", Window(4, 5, 20, 10))
    np.testing.assert_array_equal(found.pixels, values[:, 5:15, 4:24])
    np.testing.assert_array_equal(found.valid, mask[5:15, 4:24])


def test_e4_nodata_of_gdal_is_known_without_gdal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    monkeypatch.setattr("zoo.core.images.rasters.read.has_package", lambda name: name != "rasterio")
    values = numbers(3, 6, 7, dtype="int16")
    values[0, 2, 3] = -9999
    path = write(tmp_path / "x.tif", values, extratags=[(42113, "s", 0, "-9999", True)])
    found = read(path)
    np.testing.assert_array_equal(found.pixels, values)
    np.testing.assert_array_equal(found.valid, values != -9999)


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", "-9999"), ("uint8", "nan"), ("float32", "1e300")])
def test_e4_nodata_that_the_type_cannot_hold_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, nodata: str
) -> None:
    monkeypatch.setattr("zoo.core.images.rasters.read.has_package", lambda name: name != "rasterio")
    values = numbers(3, 6, 7, dtype=dtype)
    values[0, 0, 0] = np.array(-9999).astype(dtype)  # what it would become
    found = read(write(tmp_path / "x.tif", values, extratags=[(42113, "s", 0, nodata, True)]))
    assert found.valid is None or found.valid.all()


def test_e4_nodata_is_a_number_of_the_file_also_where_white_is_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.core.images.rasters.read.has_package", lambda name: name != "rasterio")
    values = numbers(1, 6, 7)
    values[0, 0, :3] = 0
    nodata = [(42113, "s", 0, "0", True)]
    found = read(write(tmp_path / "x.tif", values, "pages", photometric="miniswhite", extratags=nodata))
    np.testing.assert_array_equal(found.valid, values != 0)
    np.testing.assert_array_equal(found.pixels, 65535 - values)


def test_e3_numbers_that_are_not_upright_are_refused(tmp_path: Path) -> None:
    rotated = [(274, "H", 1, 6, True)]
    path = write(tmp_path / "x.tif", numbers(3, 6, 7), "contig", photometric="rgb", extratags=rotated)
    with pytest.raises(InvalidInputError, match="orientation 6"):
        read(path)
    grey = write(tmp_path / "y.tif", numbers(1, 6, 7), "pages", extratags=rotated)
    np.testing.assert_array_equal(read(grey).pixels, np.rot90(numbers(6, 7), -1)[None])


def test_e4_pages_that_differ_are_not_bands(tmp_path: Path) -> None:
    for name, second in (("type", numbers(6, 7, dtype="uint8")), ("size", numbers(6, 8))):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as writer:
            writer.write(numbers(6, 7), photometric="minisblack")
            writer.write(second, photometric="minisblack")
    with pytest.raises(InvalidInputError, match="7x6 uint16 and 7x6 uint8"):
        read(tmp_path / "type.tif")
    with pytest.raises(InvalidInputError, match="7x6 uint16 and 8x6 uint16"):
        read(tmp_path / "size.tif")


def test_e4_a_missing_band_names_both_counts(tmp_path: Path) -> None:
    for layout in LAYOUTS:
        path = write(tmp_path / f"{layout}.tif", numbers(12, 6, 7), layout)
        with pytest.raises(InvalidInputError, match="reads 13 channels, 12 bands") as raised:
            read_image(path, 13)
        assert raised.value.exit_code == ExitCode.INVALID_INPUT


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((6, 7), np.complex64))
    with pytest.raises(InvalidInputError, match="integers or floating point"):
        read(tmp_path / "x.tif")


# ---------------------------------------------------------------- hostile files


def directory(tags: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)


def image_tags(width: int, height: int, **more: int) -> list[tuple[int, int, int, int]]:
    tags = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 100}
    return [(tag, 4, 1, value) for tag, value in {**tags, **{int(k[1:]): v for k, v in more.items()}}.items()]


def test_e2_a_million_pages_are_not_walked(tmp_path: Path) -> None:
    page = directory([(254, 4, 1, 0)])
    pages = np.tile(np.frombuffer(page, np.uint8), (1_000_000, 1))
    following = 1000 + len(page) * np.arange(1, len(pages) + 1, dtype="<u4")
    pages[:, -4:] = following[:, None].view(np.uint8)
    start = b"II*\0" + struct.pack("<I", 8) + directory(image_tags(4, 4), 1000)
    (tmp_path / "x.tif").write_bytes(start.ljust(1000, b"\0") + pages.tobytes())
    with pytest.raises(InvalidInputError, match="more than 4096 pages"):
        read(tmp_path / "x.tif")


def test_a_loop_of_pages_are_left(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + directory(image_tags(4, 4), 8))
    with pytest.raises(InvalidInputError, match="a loop of pages"):
        read(tmp_path / "x.tif")


@pytest.mark.parametrize(
    "tags",
    [
        image_tags(100_000, 100_000),
        image_tags(2**31, 2**31, t278=1),
        image_tags(100_000, 100_000, t278=1, t277=60_000),
        image_tags(64, 64, t322=1 << 20, t323=1 << 20),
        image_tags(0, 4),
        image_tags(4, 4, t277=0),
    ],
)
def test_e2_shapes_beyond_the_limit_are_refused_by_the_header(
    tmp_path: Path, tags: list[tuple[int, int, int, int]]
) -> None:
    (tmp_path / "x.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + directory(tags) + bytes(100))
    with pytest.raises(InvalidInputError, match=r"more than the limit|no image"):
        read(tmp_path / "x.tif", bands=("1",))


def test_e2_a_tile_does_not_unpack_to_more_than_its_size(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    bomb = zlib.compress(bytes(1 << 26), 9)  # 64 MB in 64 kB, said to be 16 x 16 pixels
    tags = image_tags(16, 16, t259=8, t273=400, t279=len(bomb), t339=3, t258=32)
    (tmp_path / "x.tif").write_bytes((b"II*\0" + struct.pack("<I", 8) + directory(tags)).ljust(400, b"\0") + bomb)
    tracemalloc.start()
    with pytest.raises(InvalidInputError, match=r"x\.tif: "):
        read(tmp_path / "x.tif")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24


@pytest.mark.parametrize("cut", [4, 7, 8, 9, 30, 120, 200])
def test_a_tiff_that_ends_early_is_named(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "x.tif", numbers(5, 6, 7), "contig")
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    with pytest.raises(InvalidInputError, match=r"x\.tif: "):
        read(path)


def test_a_damaged_tiff_gives_an_error_or_an_image_and_nothing_else(tmp_path: Path) -> None:
    good = write(tmp_path / "x.tif", numbers(5, 20, 20), "contig", compression="lzw").read_bytes()
    random = np.random.default_rng(11)
    for _ in range(60):
        damaged = bytearray(good)
        for position in random.integers(0, min(len(good), 400), 4):
            damaged[position] = random.integers(0, 256)
        (tmp_path / "y.tif").write_bytes(damaged)
        with suppress(InvalidInputError):
            assert read(tmp_path / "y.tif").num_bands > 0


def test_the_header_agrees_with_tifffile(tmp_path: Path) -> None:
    for bigtiff in (False, True):
        for byteorder in "<>":
            path = tmp_path / "x.tif"
            write(path, numbers(5, 20, 30), bigtiff=bigtiff, byteorder=byteorder, tile=(16, 16))
            with path.open("rb") as file:
                header = tiff_header.read_header(file)
            assert (header.width, header.height, header.samples, header.bits) == (30, 20, 5, 16)
            assert (header.num_pages, header.value(tiff_header.TILE_WIDTH, 0)) == (1, 16)


# ---------------------------------------------------------------- missing packages


def test_e5_without_tifffile_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.tif", numbers(5, 6, 7))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(InvalidInputError, match=r"x\.tif: .*needs tifffile, which is not installed") as raised:
        read(path)
    assert "pip install 'zoo-cli[tiff]'" in raised.value.hint
    assert raised.value.exit_code == 4


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd"])
def test_e5_a_codec_that_is_missing_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    path = write(tmp_path / "x.tif", numbers(5, 6, 7), compression=compression)
    monkeypatch.setattr("zoo.core.images.rasters.tiff.has_package", lambda name: name != "imagecodecs")
    with pytest.raises(InvalidInputError, match="compression needs imagecodecs") as raised:
        read(path)
    assert "pip install 'zoo-cli[tiff]'" in raised.value.hint
    uncompressed = write(tmp_path / "y.tif", numbers(5, 6, 7))
    np.testing.assert_array_equal(read(uncompressed).pixels, numbers(5, 6, 7))


def test_a_codec_with_a_size_of_its_own_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    path = write(tmp_path / "x.tif", numbers(5, 16, 16, dtype="uint8"), compression="jpeg")
    with pytest.raises(InvalidInputError, match="JPEG compression, which is not read"):
        read(path)
