"""Arrays, band selection, preprocessing of numbers, and what an image file must not be."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.preprocess import Preprocess
from zoo.core.images.rasters.bands import select_bands
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.read import open_raster, read_image


def numbers(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(3).integers(0, 100, shape).astype(dtype)


def whole(path: Path, options: ReadOptions | None = None) -> Raster:
    with open_raster(ImageInput(path.name, str(path)), options or ReadOptions()) as file:
        return file.read()


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2", "int16", ">i4", "float16", ">f4", "float64", "bool"])
@pytest.mark.parametrize("fortran", [False, True])
def test_an_array_comes_as_it_is(tmp_path: Path, dtype: str, fortran: bool) -> None:
    values = numbers(5, 6, 7, dtype=dtype)
    np.save(tmp_path / "x.npy", np.asfortranarray(values) if fortran else values)
    found = whole(tmp_path / "x.npy", ReadOptions(in_chans=5))
    assert isinstance(found.pixels, np.ndarray)
    assert found.pixels.dtype.isnative
    np.testing.assert_array_equal(found.pixels, values)
    expected = {"u": lambda d: np.iinfo(d).max, "i": lambda d: np.iinfo(d).max, "f": lambda d: 1, "b": lambda d: 1}
    assert found.white == expected[values.dtype.kind](values.dtype)


@pytest.mark.parametrize(("shape", "axes"), [((4, 8, 9), "chw"), ((8, 9, 4), "hwc")])
@pytest.mark.parametrize("given", [True, False])
def test_axes_follow_from_the_bands_or_are_given(
    tmp_path: Path, shape: tuple[int, ...], axes: str, given: bool
) -> None:
    values = numbers(*shape)
    np.save(tmp_path / "x.npy", values)
    options = ReadOptions(axes=axes) if given else ReadOptions(in_chans=4)
    expected = values if axes == "chw" else values.transpose(2, 0, 1)
    np.testing.assert_array_equal(whole(tmp_path / "x.npy", options).pixels, expected)


@pytest.mark.parametrize(
    ("shape", "options"),
    [((4, 8, 4), ReadOptions(in_chans=4)), ((4, 8, 9), ReadOptions()), ((4, 8, 9), ReadOptions(bands=("1",)))],
)
def test_axes_that_nothing_tells_are_asked_for(tmp_path: Path, shape: tuple[int, ...], options: ReadOptions) -> None:
    np.save(tmp_path / "x.npy", numbers(*shape))
    with pytest.raises(InvalidInputError, match=r"x\.npy: an array of shape") as raised:
        whole(tmp_path / "x.npy", options)
    assert "--axes" in raised.value.hint


def test_e4_an_array_without_the_models_bands_names_both_counts(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", numbers(12, 8, 9))
    with pytest.raises(InvalidInputError, match=r"\(12, 8, 9\).*13 bands that the model reads") as raised:
        read_image(tmp_path / "x.npy", 13)
    assert "--bands" in raised.value.hint
    with pytest.raises(InvalidInputError, match="reads 13 channels, 12 bands"):
        read_image(tmp_path / "x.npy", 13, ReadOptions(in_chans=13, axes="chw"))


def test_two_axes_are_one_band(tmp_path: Path) -> None:
    values = numbers(8, 9)
    np.save(tmp_path / "x.npy", values)
    np.testing.assert_array_equal(read_image(tmp_path / "x.npy", 1).pixels, values[None])
    with pytest.raises(InvalidInputError, match="reads 3 channels, 1 bands"):
        read_image(tmp_path / "x.npy", 3)  # numbers are not a grey picture


def test_a_window_of_an_array_does_not_load_the_rest(tmp_path: Path) -> None:
    # 40 GB of holes, of which a window is read.
    shape = (10, 40_000, 50_000)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<u2", "fortran_order": False, "shape": shape})
    with (tmp_path / "x.npy").open("wb") as file:
        file.write(header.getvalue())
        file.truncate(len(header.getvalue()) + 2 * shape[0] * shape[1] * shape[2])
        file.seek(len(header.getvalue()) + 2 * (3 * 40_000 * 50_000 + 39_999 * 50_000 + 49_999))
        file.write(struct.pack("<H", 4242))
    item = ImageInput("x", str(tmp_path / "x.npy"), window=Window(49_990, 39_990, 10, 10))
    found = read_image(item, 10, ReadOptions(in_chans=10)).pixels
    assert (found[3, 9, 9], int(np.asarray(found, np.int64).sum())) == (4242, 4242)
    with pytest.raises(InvalidInputError, match="50000x40000 pixels of 10 bands, more than the limit"):
        read_image(item._replace(window=None), 10, ReadOptions(in_chans=10))


def test_npz_gives_its_only_array_or_the_one_named(tmp_path: Path) -> None:
    a, b = numbers(3, 4, 5), numbers(3, 6, 7)
    np.savez(tmp_path / "one.npz", image=a)
    np.savez_compressed(tmp_path / "two.npz", a=a, b=b)
    np.testing.assert_array_equal(read_image(tmp_path / "one.npz").pixels, a)
    np.testing.assert_array_equal(read_image(tmp_path / "two.npz", 3, ReadOptions(in_chans=3, npz_key="b")).pixels, b)
    with pytest.raises(InvalidInputError, match=r"2 arrays \(a, b\)") as raised:
        read_image(tmp_path / "two.npz")
    assert "--npz-key" in raised.value.hint
    with pytest.raises(InvalidInputError, match="no array 'c', there is a, b"):
        read_image(tmp_path / "two.npz", 3, ReadOptions(in_chans=3, npz_key="c"))


def test_e2_a_compressed_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    header = io.BytesIO()
    shape = (3, 100_000, 100_000)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(1 << 20))
    with pytest.raises(InvalidInputError, match="more than the limit"):
        read_image(tmp_path / "x.npz")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("it was unpickled",))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([[Trap()]]), "type object"),
        (np.zeros((2, 2), [("a", "u1")]), "expected"),
        (np.zeros((2, 2), complex), "type complex128"),
        (np.zeros(4), "2 axes, or 3"),
        (np.zeros((1, 2, 3, 4)), "2 axes, or 3"),
        (np.zeros((0, 4, 4)), "no image"),
        (np.zeros((4, 0)), "no image"),
        (np.array([["a"]]), "type <U1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arrays_that_are_no_image(tmp_path: Path, array: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InvalidInputError, match=reason):
        whole(tmp_path / "x.npy", ReadOptions(axes="chw"))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<u2', 'fortran_order': False, 'shape': (-1, 3)}",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (99999999999, 99999999999)}",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (1000, 1000)}",
        "{'descr': '<u2', 'fortran_order': False}",
        "__import__('os')",
        "(" * 5000,
    ],
)
def test_headers_that_lie(tmp_path: Path, header: str) -> None:
    text = header.encode() + b"\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(100))
    with pytest.raises(InvalidInputError, match=r"x\.npy: "):
        whole(tmp_path / "x.npy")


# ---------------------------------------------------------------- bands


def raster(bands: int, names: tuple[str, ...] = (), **more: Any) -> Raster:
    return Raster(pixels=numbers(bands, 4, 5), white=65535.0, band_names=names, **more)


def test_bands_are_chosen_by_number_and_name_in_the_order_asked_for() -> None:
    valid = np.arange(80).reshape(4, 4, 5) % 2 == 0
    source = raster(4, ("B02", "B03", "B04", "B8A"), valid=valid)
    found = select_bands(source, ("b8a", "1", "B03", "B03"), 4)
    np.testing.assert_array_equal(found.pixels, source.pixels[[3, 0, 1, 1]])
    np.testing.assert_array_equal(found.valid, valid[[3, 0, 1, 1]])
    assert found.band_names == ("B8A", "B02", "B03", "B03")


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (("5",), "no band 5: the image has 4"),
        (("0",), "no band 0"),
        (("nir",), "no band 'nir': its bands are a, b, b, c"),
        (("b",), "2 bands are named 'b'"),
        (("-1",), "no band '-1'"),
        (("9" * 5000,), "no band"),
    ],
)
def test_bands_that_are_not_there(wanted: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        select_bands(raster(4, ("a", "b", "b", "c")), wanted, 1)


def test_the_models_bands_in_another_order_are_refused_and_how_to_choose_them_is_told() -> None:
    source = raster(4, ("B2", "B3", "Band 4, red", "B8A"))
    model_bands = ("sentinel2:B04", "sentinel2:B03", "sentinel2:B02", "B8A")
    with pytest.raises(InvalidInputError, match="reads them as B04,B03,B02,B8A") as raised:
        select_bands(source, (), 4, model_bands)
    assert "--bands B04,B03,B02,B8A" in raised.value.hint
    with pytest.raises(InvalidInputError, match="reads them as"):
        select_bands(source, ("B2", "B3", "B4", "B8A"), 4, model_bands)
    right = select_bands(source, ("B04", "B03", "B02", "B8A"), 4, model_bands)
    np.testing.assert_array_equal(right.pixels, source.pixels[[2, 1, 0, 3]])


@pytest.mark.parametrize(
    ("names", "wanted", "model_bands"),
    [
        (("B2", "B3", "B4"), ("1", "2", "3"), ("B4", "B3", "B2")),  # by number: the user knows better than the file
        (("B2", "B3", "B4"), (), ("B2", "B3", "B4")),
        (("B2", "B3", "B4"), (), ()),
        (("B2", "B3", ""), (), ("B4", "B3", "B2")),  # one is not named
        (("B2", "B3", "B4"), (), ("B8", "B3", "B2")),
        ((), (), ("B4", "B3", "B2")),
    ],
)
def test_names_that_do_not_tell_the_order_say_nothing(
    names: tuple[str, ...], wanted: tuple[str, ...], model_bands: tuple[str, ...]
) -> None:
    assert select_bands(raster(3, names), wanted, 3, model_bands).num_bands == 3


@pytest.mark.parametrize(("bands", "in_chans"), [(12, 13), (3, 1), (1, 3), (14, 13)])
def test_e4_a_wrong_band_count_names_both(bands: int, in_chans: int) -> None:
    with pytest.raises(InvalidInputError, match=f"reads {in_chans} channels, {bands} bands") as raised:
        select_bands(raster(bands), (), in_chans)
    assert f"zoo adapt-weights NAME --in-chans {bands}" in raised.value.hint


# ---------------------------------------------------------------- preprocessing


def preprocess(bands: int = 1, **options: Any) -> Preprocess:
    return Preprocess(**{"size": (4, 4), "crop_pct": 1.0, "mean": (0.5,) * bands, "std": (0.25,) * bands, **options})


def test_numbers_are_divided_by_white_or_by_the_scale_asked_for() -> None:
    pixels = np.array([[[0, 5000], [10000, 20000]]], np.uint16)
    source = Raster(pixels=pixels, white=65535.0)
    as_is = {"resize": False}
    np.testing.assert_allclose(preprocess(**as_is).array(source), (pixels / 65535 - 0.5) / 0.25, rtol=1e-5)
    np.testing.assert_allclose(preprocess(**as_is, scale=10000).array(source), (pixels / 10000 - 0.5) / 0.25, rtol=1e-6)


def test_only_integers_of_the_files_own_scale_are_kept_within_their_range() -> None:
    step = np.zeros((1, 16, 16), np.uint16)
    step[..., 8:] = 65535
    options: dict[str, Any] = {"size": (40, 40), "mean": (0.0,), "std": (1.0,)}
    clipped = preprocess(**options).array(Raster(pixels=step, white=65535.0))
    assert (clipped.min(), clipped.max()) == (0, 1)
    for kept in (
        preprocess(**options, scale=65535.0).array(Raster(pixels=step, white=65535.0)),
        preprocess(**options).array(Raster(pixels=(step / 65535).astype(np.float32), white=1.0)),
    ):
        assert kept.min() < -0.01  # bicubic goes beyond an edge on both sides
        assert kept.max() > 1.01


def test_8_bit_bands_are_the_reference_however_they_were_read() -> None:
    photo = Image.open(Path(__file__).parents[1] / "data" / "chelsea.png").convert("RGB")
    bands = Raster(pixels=np.ascontiguousarray(np.asarray(photo).transpose(2, 0, 1)), white=255.0)
    for mode in ("center", "squash", "border"):
        transform = Preprocess(crop_mode=mode, crop_pct=1.0)
        np.testing.assert_array_equal(transform.array(bands), transform.array(photo), err_msg=mode)


def test_without_resizing_an_image_is_taken_as_it_is() -> None:
    photo = Image.fromarray(numbers(5, 9, 3, dtype="uint8"))
    found = Preprocess(resize=False, mean=(0.0,) * 3, std=(1.0,) * 3).array(photo)
    assert found.shape == (3, 5, 9)
    np.testing.assert_array_equal(found, np.asarray(photo).transpose(2, 0, 1).astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("source", ["nan", "infinite", "mask", "mask of a band"])
@pytest.mark.parametrize("resize", [True, False])
def test_e4_where_there_is_no_data_is_the_mean(source: str, resize: bool) -> None:
    pixels = np.full((2, 8, 8), 0.75, np.float32)
    valid = None
    if source in ("nan", "infinite"):
        pixels[0, :4] = np.nan if source == "nan" else -np.inf
    else:
        pixels[0, :4] = -9999
        valid = np.ones((8, 8) if source == "mask" else (2, 8, 8), bool)
        valid[..., :4, :] = False
        if source == "mask of a band":
            valid[1] = True
    transform = preprocess(2, size=(8, 8), mean=(0.25, 0.5), std=(0.5, 0.25), resize=resize)
    found = transform.array(Raster(pixels=pixels, white=1.0, valid=valid))
    np.testing.assert_allclose(found[0, :4], 0, atol=1e-6)
    np.testing.assert_allclose(found[0, 4:], 1)
    np.testing.assert_allclose(found[1, :4], 0 if source == "mask" else 1)


def test_e4_what_is_done_without_data_is_chosen_and_recorded() -> None:
    pixels = np.array([[[100, 0], [100, 200]]], np.uint16)
    source = Raster(pixels=pixels, white=65535.0, valid=pixels[0] != 0)
    zero = preprocess(scale=100, resize=False, nodata="zero")
    np.testing.assert_allclose(zero.array(source), [[[2, -2], [2, 6]]])
    assert (zero.to_dict()["nodata"], zero.to_dict()["scale"], zero.to_dict()["resize"]) == ("zero", 100, False)
    with pytest.raises(InvalidInputError, match=r"25\.0% of the image has no data"):
        preprocess(nodata="error").array(source)
    complete = Raster(pixels=pixels, white=65535.0, valid=np.ones((2, 2), bool))
    assert preprocess(nodata="error").array(complete).shape == (1, 4, 4)


def test_mean_and_std_can_be_given_instead_of_the_configs() -> None:
    found = Preprocess.from_cfg({"mean": (0.1,) * 3}, in_chans=5, mean=(0.5,), std=(1, 2, 3, 4, 5), scale=10000.0)
    assert (found.mean, found.std, found.scale) == ((0.5,) * 5, (1.0, 2.0, 3.0, 4.0, 5.0), 10000.0)
    with pytest.raises(InvalidInputError, match="5 channels"):
        Preprocess.from_cfg({}, in_chans=5, mean=(0.5, 0.5), std=(1.0,))


@pytest.mark.parametrize("options", [{"nodata": "nearest"}, {"scale": 0.0}, {"scale": float("nan")}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        preprocess(**options)


def test_options_of_reading_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="auto, chw, hwc"):
        ReadOptions(axes="whc")


def test_an_image_is_known_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    values = numbers(3, 4, 5, dtype="uint8")
    np.save(tmp_path / "x.npy", values)
    (tmp_path / "x.npy").rename(tmp_path / "x.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg").pixels, values)


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"PK\3\4", b"PK\5\6" + bytes(18), b"\x93NUMPY", b"II*\0", bytes(128) + b"DICM"]
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"^\S+x\.png: "):
        read_image(tmp_path / "x.png")
