"""The same numbers with and without an optional package, for every TIFF of a corpus; and what they are."""

from __future__ import annotations

import random
import struct
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiff_corpus import CORPUS, H, W, by_rasterio, by_tifffile, noise, smooth

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.read import open_raster, read_image

tifffile = pytest.importorskip("tifffile")
rasterio = pytest.importorskip("rasterio")
pytest.importorskip("imagecodecs")

WITHOUT = [("rasterio",), ("imagecodecs",), ("tifffile",), ("tifffile", "imagecodecs"), ("tifffile", "rasterio"),
           ("tifffile", "imagecodecs", "rasterio")]  # fmt: skip


def pixels_of(raster: Raster) -> np.ndarray:
    """(bands, height, width)."""
    values = np.asarray(raster.pixels)
    if isinstance(raster.pixels, np.ndarray):
        return values
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def valid_of(raster: Raster) -> np.ndarray:
    """(bands, height, width)."""
    shape = pixels_of(raster).shape
    return np.ones(shape, bool) if raster.valid is None else np.broadcast_to(raster.valid, shape)


def attempt(path: Path, options: ReadOptions) -> Raster | InvalidInputError:
    """The image, or why it is not read."""
    try:
        return read_image(path, options.in_chans or 3, options)
    except InvalidInputError as error:
        return error


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, np.ndarray]]:
    folder = tmp_path_factory.mktemp("tiffs")
    return {name: (folder / f"{name}.tif", write(folder / f"{name}.tif")) for name, write in CORPUS.items()}


@pytest.mark.parametrize("name", CORPUS)
def test_it_is_what_was_written_with_and_without_optional_packages(
    corpus: dict[str, tuple[Path, np.ndarray]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, written = corpus[name]
    found = read_image(path, len(written))
    np.testing.assert_array_equal(pixels_of(found), written)
    for missing in WITHOUT:
        with monkeypatch.context() as patch:
            for package in missing:
                patch.setitem(sys.modules, package, None)
            other = attempt(path, ReadOptions(in_chans=len(written)))
        if isinstance(other, InvalidInputError):
            assert "zoo-cli[tiff]" in other.hint, (missing, other)
            continue
        np.testing.assert_array_equal(pixels_of(other), written, err_msg=str(missing))
        np.testing.assert_array_equal(valid_of(other), valid_of(found), err_msg=str(missing))
        facts = [(r.white, r.band_names, r.scales, r.offsets, r.georeference, r.facts) for r in (other, found)]
        assert facts[0] == facts[1], missing


@pytest.mark.parametrize("name", CORPUS)
def test_a_grey_or_a_colour_model_reads_it_alike(
    corpus: dict[str, tuple[Path, np.ndarray]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = corpus[name]
    for in_chans in (1, 3):
        found = attempt(path, ReadOptions(in_chans=in_chans))
        for missing in WITHOUT:
            with monkeypatch.context() as patch:
                for package in missing:
                    patch.setitem(sys.modules, package, None)
                other = attempt(path, ReadOptions(in_chans=in_chans))
            if isinstance(found, InvalidInputError):
                assert isinstance(other, InvalidInputError), (missing, in_chans)
            elif isinstance(other, InvalidInputError):
                assert "zoo-cli[tiff]" in other.hint, (missing, in_chans, other)
            else:
                np.testing.assert_array_equal(pixels_of(other), pixels_of(found), err_msg=f"{missing} {in_chans}")
                np.testing.assert_array_equal(valid_of(other), valid_of(found), err_msg=f"{missing} {in_chans}")


@pytest.mark.parametrize("name", CORPUS)
def test_gdal_on_request_gives_the_same(corpus: dict[str, tuple[Path, np.ndarray]], name: str) -> None:
    path, written = corpus[name]
    found = read_image(path, len(written))
    other = attempt(path, ReadOptions(in_chans=len(written), geo=True))
    if isinstance(other, InvalidInputError):
        assert "Leave out --geo" in other.hint or "GDAL" in other.message, other
        return
    np.testing.assert_array_equal(pixels_of(other), written)
    np.testing.assert_array_equal(valid_of(other), valid_of(found))


@pytest.mark.parametrize("name", ["rgbn_default_alpha", "rgbn_16_bits", "rgbn_alpha_no", "rgba_plain"])
def test_a_band_that_is_read_is_no_mask(corpus: dict[str, tuple[Path, np.ndarray]], name: str) -> None:
    path, _ = corpus[name]
    for geo in (False, True):
        assert valid_of(read_image(path, 4, ReadOptions(in_chans=4, geo=geo))).all()
        chosen = ReadOptions(in_chans=2, bands=("1", "4"), geo=geo)
        assert valid_of(read_image(path, 2, chosen)).all()


def test_nodata_of_a_colour_picture_counts_where_all_bands_have_it(
    corpus: dict[str, tuple[Path, np.ndarray]],
) -> None:
    path, written = corpus["rgb_nodata_0"]
    found = read_image(path, 3)
    with rasterio.open(path) as file:
        expected = file.dataset_mask() != 0
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(found.valid, expected)
    assert found.facts == {"nodata": {"value": "0", "per": "pixel"}}
    path, written = corpus["rgb16_nodata_0"]
    measured = read_image(path, 3)
    np.testing.assert_array_equal(measured.valid, written != 0)
    assert measured.facts["nodata"]["per"] == "band"


@pytest.mark.parametrize("name", ["internal_mask", "rgb_internal_mask"])
def test_an_internal_mask_is_what_rasterio_reads(corpus: dict[str, tuple[Path, np.ndarray]], name: str) -> None:
    path, written = corpus[name]
    with rasterio.open(path) as file:
        expected = file.dataset_mask() != 0
    np.testing.assert_array_equal(valid_of(read_image(path, len(written)))[0], expected)


@pytest.mark.parametrize("name", [name for name in CORPUS if not name.startswith(("bilevel", "jpeg"))])
def test_windows_are_parts_of_the_whole(corpus: dict[str, tuple[Path, np.ndarray]], name: str) -> None:
    path, written = corpus[name]
    options = ReadOptions(in_chans=len(written))
    with open_raster(ImageInput("x", str(path)), options) as file:
        whole = file.read()
        for window in (Window(0, 0, 5, 7), Window(17, 9, 30, 30), Window(W - 3, H - 2, 3, 2)):
            left, top, width, height = window
            part = (slice(None), slice(top, top + height), slice(left, left + width))
            found = file.read(window)
            np.testing.assert_array_equal(pixels_of(found), pixels_of(whole)[part])
            np.testing.assert_array_equal(valid_of(found), valid_of(whole)[part])


def test_jpeg_of_many_bands_is_gdals_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.tif"
    profile = {"compress": "JPEG", "photometric": "MINISBLACK", "interleave": "band"}
    by_rasterio(smooth(5), **profile)(path)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(pixels_of(read_image(path, 5)), file.read())
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(InvalidInputError, match="JPEG compression, which is not read") as raised:
        read_image(path, 5)
    assert "zoo-cli[geo]" in raised.value.hint


# ---------------------------------------------------------------- pictures of any size


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
@pytest.mark.parametrize("compression", [None, "deflate", "jpeg"])
def test_a_large_picture_is_read_by_window_as_pillow_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photometric: str, compression: str | None
) -> None:
    if photometric == "ycbcr" and compression != "jpeg":
        pytest.skip("tifffile converts only for JPEG")
    values = np.tile(smooth(), (1, 4, 4)).transpose(1, 2, 0)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values, photometric=photometric, compression=compression, tile=(32, 32), metadata=None)
    by_pillow = pixels_of(read_image(path, 3))
    monkeypatch.setattr("zoo.core.images.rasters.read._LARGE", 100)
    small = ReadOptions(in_chans=3, max_pixels=60 * 60)  # the whole would be beyond the limit
    with open_raster(ImageInput("x", str(path)), small) as file:
        found = file.read(Window(40, 30, 50, 50))
        np.testing.assert_array_equal(pixels_of(found), by_pillow[:, 30:80, 40:90])
        with pytest.raises(InvalidInputError, match="more than the limit"):
            file.read()


def test_a_window_of_one_long_strip_reads_only_its_rows(tmp_path: Path) -> None:
    values = np.zeros((6000, 1000, 3), np.uint8)
    values[5000:5010, 5:15] = 77
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values, photometric="rgb", rowsperstrip=6000, metadata=None)
    options = ReadOptions(in_chans=3, max_pixels=1 << 20)
    with open_raster(ImageInput("x", str(path)), options) as file:
        tracemalloc.start()
        found = pixels_of(file.read(Window(5, 4995, 10, 20)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    np.testing.assert_array_equal(found, values[4995:5015, 5:15].transpose(2, 0, 1))
    assert peak < 1 << 23


# ---------------------------------------------------------------- pages


def ome(axes: str, *shape: int) -> Any:
    values = np.random.default_rng(1).integers(0, 255, (*shape, 12, 16), dtype=np.uint8)
    return lambda path: tifffile.imwrite(path, values, ome=True, metadata={"axes": axes}, photometric="minisblack")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (ome("ZYX", 3), "3 slices in depth"),
        (ome("TYX", 3), "3 moments"),
        (ome("CZYX", 2, 2), "2 slices in depth by 2 channels"),
        (by_tifffile(noise(4, "uint16"), "pages", imagej=True, metadata={"axes": "ZYX"}, photometric=None), "4 slices"),
        (by_tifffile(noise(4, "uint8"), "pages", metadata={"axes": "TYX"}), "4 moments"),
        (by_tifffile(noise(3, "uint8"), "pages"), "the file does not say whether they are red, green and blue"),
    ],
)
def test_slices_moments_and_pages_of_a_scan_are_no_channels(tmp_path: Path, write: Any, said: str) -> None:
    write(tmp_path / "x.tif")
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        pages = np.stack([page.asarray() for page in file.pages])
    with pytest.raises(InvalidInputError, match=said) as raised:
        read_image(tmp_path / "x.tif", len(pages))
    assert "--pages 1" in raised.value.hint
    assert "--pages bands" in raised.value.hint
    bands = ReadOptions(in_chans=len(pages), pages="bands")
    np.testing.assert_array_equal(pixels_of(read_image(tmp_path / "x.tif", len(pages), bands)), pages)
    second = ReadOptions(in_chans=1, pages="2")
    np.testing.assert_array_equal(pixels_of(read_image(tmp_path / "x.tif", 1, second)), pages[1:2])
    with pytest.raises(InvalidInputError, match=f"no page 99: the file has {len(pages)}"):
        read_image(tmp_path / "x.tif", 1, ReadOptions(in_chans=1, pages="99"))


def test_pages_of_colour_are_chosen_by_number(tmp_path: Path) -> None:
    pages = [smooth(), 255 - smooth()]
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for page in pages:
            file.write(page.transpose(1, 2, 0), photometric="rgb", metadata=None)
    with pytest.raises(InvalidInputError, match="2 frames or pages of 3 samples") as raised:
        read_image(tmp_path / "x.tif", 3)
    assert "--pages 1" in raised.value.hint
    for number, page in enumerate(pages, 1):
        found = read_image(tmp_path / "x.tif", 3, ReadOptions(in_chans=3, pages=str(number)))
        np.testing.assert_array_equal(pixels_of(found), page)


def test_a_smaller_page_of_a_scan_is_no_overview(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for values in (smooth(), 255 - smooth()[:, ::2, ::2]):
            file.write(np.ascontiguousarray(values.transpose(1, 2, 0)), photometric="rgb", metadata=None)
    with pytest.raises(InvalidInputError, match="2 frames or pages of 3 samples"):
        read_image(tmp_path / "x.tif", 3)


def test_a_thumbnail_may_come_first(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for kind, values in ((1, smooth()[:, ::4, ::4]), (0, smooth())):
            page = np.ascontiguousarray(values.transpose(1, 2, 0))
            file.write(page, photometric="rgb", metadata=None, subfiletype=kind)
    np.testing.assert_array_equal(pixels_of(read_image(tmp_path / "x.tif", 3)), smooth())
    with tifffile.TiffWriter(tmp_path / "raw.tif") as file:
        thumbnail = np.ascontiguousarray(smooth()[:, ::4, ::4].transpose(1, 2, 0))
        file.write(thumbnail, photometric="rgb", metadata=None, subfiletype=1, subifds=1)
        file.write(noise(1, "uint16")[0], photometric="minisblack", metadata=None)
    with pytest.raises(InvalidInputError, match="a thumbnail; the full image is in another directory"):
        read_image(tmp_path / "raw.tif", 3)


@pytest.mark.parametrize("stated", [64, 128, 1_000_000])
def test_tags_need_not_be_sorted_nor_the_only_strip_have_its_right_size(tmp_path: Path, stated: int) -> None:
    values = np.arange(64, dtype="<u2").reshape(8, 8)
    tags = plain(t273=(4, 1, 200), t279=(4, 1, stated))
    data = tiff(tags[::-1])[:200].ljust(200, b"\0") + values.tobytes()
    (tmp_path / "x.tif").write_bytes(data)
    np.testing.assert_array_equal(pixels_of(read_image(tmp_path / "x.tif", 1))[0], values)


# ---------------------------------------------------------------- names, scale and offset


def test_names_scales_and_offsets_are_what_rasterio_reads(corpus: dict[str, tuple[Path, np.ndarray]]) -> None:
    path, written = corpus["scaled"]
    found = read_image(path, 3)
    with rasterio.open(path) as file:
        assert (found.band_names, found.scales, found.offsets) == (file.descriptions, file.scales, file.offsets)
    chosen = read_image(path, 2, ReadOptions(in_chans=2, bands=("b2", "Band 4")))
    np.testing.assert_array_equal(pixels_of(chosen), written[[2, 0]])
    reflectance = written[[2, 0]] * 1e-4 - 0.1
    np.testing.assert_allclose(pixels_of(chosen.rescaled()), reflectance, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("names", "wanted", "position"),
    [
        (("B02", "B03", "B04", "B8A"), "B4", 2),
        (("B02", "B03", "B04", "B8A"), "b8a", 3),
        (("B2, central wavelength 490 nm", "B4, central wavelength 665 nm", "x", "y"), "B04", 1),
        (("Blue", "Green", "Red", "Near Infrared"), "nir", 3),
        (("blue", "green", "red", "NIR (842 nm)"), "near infrared", 3),
    ],
)
def test_bands_answer_to_other_spellings_of_their_names(
    tmp_path: Path, names: tuple[str, ...], wanted: str, position: int
) -> None:
    values = noise(4, "uint16")
    CORPUS["rgbn_16_bits"](tmp_path / "x.tif")
    with rasterio.open(tmp_path / "x.tif", "r+") as file:
        file.write(values)
        file.descriptions = names
    found = read_image(tmp_path / "x.tif", 1, ReadOptions(in_chans=1, bands=(wanted,)))
    np.testing.assert_array_equal(pixels_of(found), values[position : position + 1])


def test_names_with_a_document_type_are_not_parsed(tmp_path: Path) -> None:
    item = '<Item name="DESCRIPTION" sample="0" role="description">&b;</Item>'
    bomb = f'<!DOCTYPE a [<!ENTITY b "bb">]><GDALMetadata>{item}</GDALMetadata>'
    tags = [(42112, "s", 0, bomb, True)]
    by_tifffile(noise(2, "uint16"), extratags=tags)(tmp_path / "x.tif")
    assert read_image(tmp_path / "x.tif", 2).band_names == ()


# ---------------------------------------------------------------- hostile files


def tiff(tags: list[tuple[int, int, int, int | bytes]]) -> bytes:
    """A TIFF of one directory, whose tags stand as they are given: (tag, type, count, value, or bytes elsewhere)."""
    place = 8 + 2 + 12 * len(tags) + 4
    rows, elsewhere = b"", b""
    for tag, kind, count, value in tags:
        if isinstance(value, bytes):
            rows += struct.pack("<HHII", tag, kind, count, place + len(elsewhere))
            elsewhere += value
        else:
            rows += struct.pack("<HHII", tag, kind, count, value)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4) + elsewhere + bytes(256)


PLAIN = {256: 8, 257: 8, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64, 284: 2}


def plain(**changes: tuple[int, int, int | bytes]) -> list[tuple[int, int, int, int | bytes]]:
    tags = {tag: (4, 1, value) for tag, value in PLAIN.items()} | {int(k[1:]): v for k, v in changes.items()}
    return [(tag, *rest) for tag, rest in tags.items()]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (plain(t277=(4, 1, 2**32 - 1)), "4294967295 samples a pixel"),
        (plain(t277=(4, 1, 100_000_000)), "100000000 samples a pixel"),
        (plain(t258=(16, 1, struct.pack("<Q", 1 << 38))), "samples of 274877906944 bits"),
        ([*plain(), (258, 16, 1, struct.pack("<Q", 1 << 38))], "the tag 258 twice"),
        (plain(t254=(3, 65536, bytes(131072))), "65536 values of type 3 in the TIFF tag 254"),
        (plain(t258=(3, 9, bytes(18))), "no image|samples of 0 bits|more bit depths"),
        (plain(t258=(3, 70_000, bytes(140_000))), "70000 values in the TIFF tag 258"),
        (plain(t32997=(4, 1, 5)), "a volume of 5 slices"),
        (plain(t273=(4, 1, 2**32 - 1)), "cut short|ends early"),
    ],
)
def test_what_no_tag_can_mean_is_refused_by_the_header(
    tmp_path: Path, tags: list[tuple[int, int, int, int | bytes]], said: str
) -> None:
    (tmp_path / "x.tif").write_bytes(tiff(tags))
    for in_chans in (1, 3, 5):
        with pytest.raises(InvalidInputError, match=said):
            read_image(tmp_path / "x.tif", in_chans)


def test_directories_may_not_take_more_bytes_than_the_file_of_a_scan_would(tmp_path: Path) -> None:
    """Two thousand directories whose 65,535 bit depths are all the same 128 KiB."""
    depths = struct.pack("<H", 16) * 65535
    start = 8 + len(depths)
    body, place = b"", start
    for number in range(2000):
        tags = [(256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 65535, 8), (277, 3, 1, 65535)]
        rows = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        place += 2 + len(rows) + 4
        body += struct.pack("<H", len(tags)) + rows + struct.pack("<I", place if number < 1999 else 0)
    (tmp_path / "x.tif").write_bytes(b"II*\0" + struct.pack("<I", start) + depths + body)
    with pytest.raises(InvalidInputError, match="MiB of TIFF directories"):
        read_image(tmp_path / "x.tif", 3)


@pytest.mark.parametrize(
    ("compression", "mark"), [("webp", b"VP8"), ("jpeg2000", b"\xff\x4f\xff\x51"), ("jpeg", b"\xff\xc0")]
)
def test_a_picture_within_a_tiff_is_not_decoded_to_another_size(tmp_path: Path, compression: str, mark: bytes) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, smooth().transpose(1, 2, 0), photometric="rgb", compression=compression, tile=(32, 32))
    data = bytearray(path.read_bytes())
    at = data.index(mark)
    if compression == "jpeg":
        data[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    elif compression == "jpeg2000":
        data[at + 8 : at + 16] = struct.pack(">II", 60_000, 60_000)
    else:
        lossless = data[at + 3 : at + 4] == b"L"
        data[at + 9 : at + 13] = b"\xff" * 4 if lossless else data[at + 9 : at + 13]
        if not lossless:
            data[at + 14 : at + 18] = b"\xff\x3f\xff\x3f"
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(InvalidInputError):
        read_image(path, 3, ReadOptions(in_chans=3))
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


def test_bytes_at_a_time_are_bounded_too(tmp_path: Path) -> None:
    by_tifffile(noise(3, "float64"))(tmp_path / "x.tif")
    size = H * W * 3 * 8
    for pixels, fits in ((size // 2, True), (H * W + 10, False)):
        options = ReadOptions(in_chans=3, max_pixels=pixels)
        if fits:
            read_image(tmp_path / "x.tif", 3, options)
        else:
            with pytest.raises(InvalidInputError, match="MiB of pixels at once"):
                read_image(tmp_path / "x.tif", 3, options)


def test_decoders_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.tif"
    for name in ("inks", "planar_lzw", "jpeg", "palette", "webp", "zstd_predictor", "cog", "jpeg_cog_mask"):
        CORPUS[name](path)
        good = path.read_bytes()
        for seed in range(8):
            path.write_bytes(mutated(good, random.Random(seed)))
            for in_chans in (1, 3):
                attempt(path, ReadOptions(in_chans=in_chans, geo=seed % 2 == 1))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def mutated(data: bytes, choose: random.Random) -> bytes:
    """Bytes of the pixels and values of the directory changed."""
    changed = bytearray(data)
    for _ in range(choose.choice((1, 2, 6, 60))):
        changed[choose.randrange(8, len(changed))] = choose.randrange(256)
    return bytes(changed)


TAGS = (254, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339, 347, 42113)
NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    32,
    64,
    255,
    65535,
    65536,
    2**31 - 1,
    2**32 - 1,
    34712,
    34887,
    50000,
    50001,
    50002,
)


def with_other_tags(data: bytes, choose: random.Random) -> bytes:
    """One to three entries of the first directory changed: tag, type, count or value; or copied over another."""
    order = "<" if data[:2] == b"II" else ">"
    if struct.unpack(order + "H", data[2:4])[0] != 42:
        return mutated(data, choose)
    changed = bytearray(data)
    start = struct.unpack(order + "I", data[4:8])[0]
    count = struct.unpack(order + "H", data[start : start + 2])[0]
    for _ in range(choose.choice((1, 1, 2, 3))):
        entry = start + 2 + 12 * choose.randrange(count)
        what = choose.randrange(5)
        if what == 0:
            changed[entry : entry + 2] = struct.pack(order + "H", choose.choice(TAGS))
        elif what == 1:
            changed[entry + 2 : entry + 4] = struct.pack(order + "H", choose.choice((1, 2, 3, 4, 5, 7, 12, 16, 0, 200)))
        elif what == 2:
            changed[entry + 4 : entry + 8] = struct.pack(order + "I", choose.choice(NUMBERS))
        elif what == 3:
            changed[entry + 8 : entry + 12] = struct.pack(order + "I", choose.choice(NUMBERS))
        else:
            other = start + 2 + 12 * choose.randrange(count)
            changed[entry : entry + 12] = changed[other : other + 12]
    return bytes(changed)


def test_mutated_directories_give_an_image_or_an_error_and_take_little(
    corpus: dict[str, tuple[Path, np.ndarray]], tmp_path: Path
) -> None:
    choose = random.Random(14)
    files = [path.read_bytes() for path, _ in corpus.values()]
    tracemalloc.start()
    begin = time.monotonic()
    for number in range(400):
        data = files[number % len(files)]
        (tmp_path / "x.tif").write_bytes((with_other_tags if number % 4 else mutated)(data, choose))
        options = ReadOptions(in_chans=choose.choice((1, 3, 4, 5)), geo=number % 10 == 0)
        found = attempt(tmp_path / "x.tif", options)
        assert isinstance(found, InvalidInputError) or found.num_bands == options.in_chans
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400 << 20, f"after {time.monotonic() - begin:.0f} s"
