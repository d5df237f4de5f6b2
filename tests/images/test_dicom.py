"""DICOM of one frame, written by pydicom; expectations from the formulas of PS3.3."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.images.inputs.find import find_inputs
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.rasters import library_warnings
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.read import open_raster, read_image

from dicom_files import numbers, write, write_frames

pydicom = pytest.importorskip("pydicom")

JPEG_LS = "1.2.840.10008.1.2.4.80"
DEFLATED = "1.2.840.10008.1.2.1.99"


def test_grey_and_its_white(tmp_path: Path) -> None:
    values = numbers(6, 7)
    path = write(tmp_path / "x.dcm", values, BitsStored=12)
    with open_raster(ImageInput("x", str(path))) as file:
        assert (file.height, file.width, file.num_bands) == (6, 7, 1)
        found = file.read(Window(2, 1, 4, 3))
    np.testing.assert_array_equal(found.pixels, values[None, 1:4, 2:6])
    assert found.white == 4095
    np.testing.assert_array_equal(read_image(path, 3).pixels, np.stack([values] * 3))


def test_rescale_gives_hounsfield_units(tmp_path: Path) -> None:
    values = numbers(6, 7)
    path = write(tmp_path / "x.dcm", values, BitsStored=12, RescaleSlope=2, RescaleIntercept=-1024)
    found = read_image(path, 1)
    np.testing.assert_array_equal(found.pixels, 2.0 * values[None] - 1024)
    assert found.white == 2 * 4095 - 1024


def test_monochrome1_is_turned_round(tmp_path: Path) -> None:
    values = numbers(6, 7)
    path = write(tmp_path / "x.dcm", values, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_image(path, 1).pixels, 4095.0 - values[None])
    signed = numbers(6, 7, dtype="int16") - np.int16(2048)
    path = write(tmp_path / "y.dcm", signed, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_image(path, 1).pixels, -1.0 - signed[None])


def test_colour(tmp_path: Path) -> None:
    values = numbers(6, 7, 3, dtype="uint8", high=256)
    found = read_image(write(tmp_path / "x.dcm", values), 3)
    np.testing.assert_array_equal(found.pixels, values.transpose(2, 0, 1))
    assert found.white == 255


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"RescaleSlope": 0}, "rescale slope"),
        ({"Rows": 60_000, "Columns": 60_000}, "more than the limit"),
        ({"Rows": 0}, "no image"),
        ({"Rows": 8}, "x.dcm: "),
        ({"BitsStored": 64}, "64 bits"),
    ],
)
def test_what_is_not_one_plain_image_is_refused(tmp_path: Path, attributes: dict[str, Any], reason: str) -> None:
    path = write(tmp_path / "x.dcm", numbers(6, 7), **attributes)
    with pytest.raises(InvalidInputError, match=reason):
        read_image(path, 1)


def test_e2_a_deflated_file_is_not_inflated(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", numbers(6, 7), syntax=DEFLATED)
    with pytest.raises(InvalidInputError, match="deflated DICOM"):
        read_image(path, 1)


def test_e5_a_codec_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = type("Decoder", (), {"is_available": False, "missing_dependencies": ["pylibjpeg - requires plugins"]})
    monkeypatch.setattr(pydicom.pixels, "get_decoder", lambda _syntax: decoder)
    path = write(tmp_path / "x.dcm", numbers(6, 7), syntax=JPEG_LS)
    with pytest.raises(InvalidInputError, match=r"JPEG-LS.*pylibjpeg") as raised:
        read_image(path, 1)
    assert "pip install" in raised.value.hint
    assert raised.value.exit_code == 4


def test_e5_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.dcm", numbers(6, 7))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InvalidInputError, match="needs pydicom, which is not installed") as raised:
        read_image(path, 1)
    assert "pip install 'zoo-cli[dicom]'" in raised.value.hint


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    data = write(tmp_path / "x.dcm", numbers(30, 30)).read_bytes()
    for cut in (132, 140, 200, 400, len(data) - 10):
        (tmp_path / "y.dcm").write_bytes(data[:cut])
        with pytest.raises(InvalidInputError, match=r"y\.dcm: "):
            read_image(tmp_path / "y.dcm", 1, ReadOptions(in_chans=1))


# ---------------------------------------------------------------- rescaling, wherever it stands


def group(slope: float | None = None, intercept: float | None = None) -> Any:
    """An item of a functional groups sequence that holds the pixel value transformation."""
    transformation = pydicom.Dataset()
    transformation.RescaleSlope, transformation.RescaleIntercept = slope, intercept
    item = pydicom.Dataset()
    item.PixelValueTransformationSequence = pydicom.Sequence([transformation])
    return item


@pytest.mark.parametrize("place", ["root", "shared", "per frame"])
def test_rescale_is_found_wherever_it_stands(tmp_path: Path, place: str) -> None:
    values = numbers(6, 7)
    attributes: dict[str, Any] = {
        "root": {"RescaleSlope": 2, "RescaleIntercept": -1024},
        "shared": {"SharedFunctionalGroupsSequence": pydicom.Sequence([group(2, -1024)])},
        "per frame": {
            "SharedFunctionalGroupsSequence": pydicom.Sequence([group(7, 7)]),
            "PerFrameFunctionalGroupsSequence": pydicom.Sequence([group(2, -1024)]),
        },
    }[place]
    found = read_image(write(tmp_path / "x.dcm", values, BitsStored=12, **attributes), 1)
    np.testing.assert_array_equal(found.pixels, 2.0 * values[None] - 1024)
    assert found.white == 2 * 4095 - 1024


def test_empty_values_are_none(tmp_path: Path) -> None:
    values = numbers(6, 7)
    empty = {"RescaleSlope": None, "RescaleIntercept": None, "NumberOfFrames": None, "PixelPaddingValue": None}
    found = read_image(write(tmp_path / "x.dcm", values, BitsStored=12, WindowCenter=None, **empty), 1)
    np.testing.assert_array_equal(found.pixels, values[None])


def test_a_negative_slope_has_its_white_at_the_lowest_number(tmp_path: Path) -> None:
    values = numbers(6, 7, dtype="uint8", high=256)
    found = read_image(write(tmp_path / "x.dcm", values, RescaleSlope=-1, RescaleIntercept=100), 1)
    np.testing.assert_array_equal(found.pixels, 100.0 - values[None])
    assert found.white == 100


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
@pytest.mark.parametrize("with_meta", [False, True])
def test_without_a_preamble(tmp_path: Path, syntax: str, with_meta: bool) -> None:
    values = numbers(6, 7)
    path = write(tmp_path / "x.dcm", values, syntax=syntax, BitsStored=12, RescaleIntercept=-5)
    data = path.read_bytes()[132:]
    length = pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    path.write_bytes(data if with_meta else data[12 + length :])
    np.testing.assert_array_equal(read_image(path, 1).pixels, values[None] - 5.0)


def test_a_member_of_an_archive(tmp_path: Path) -> None:
    values = numbers(6, 7)
    write(tmp_path / "x.dcm", values)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "x.dcm", "x.dcm")
    (item,) = find_inputs([tmp_path / "a.tar"])
    np.testing.assert_array_equal(read_image(item, 1).pixels, values[None])


# ---------------------------------------------------------------- which bits, and which of them are data


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_numbers_may_begin_at_the_top_and_have_overlays_above(tmp_path: Path, dtype: str) -> None:
    low = 0 if dtype == "uint16" else -2048
    values = np.random.default_rng(6).integers(low, low + 4096, (6, 7)).astype(dtype)
    path = write(tmp_path / "x.dcm", np.left_shift(values, 4), BitsStored=12)
    dataset = pydicom.dcmread(path)
    dataset.HighBit = 15
    dataset.save_as(path)
    np.testing.assert_array_equal(read_image(path, 1).pixels, values[None])
    overlay = (values.view("uint16") & 0x0FFF | 0x1000).view(dtype)
    np.testing.assert_array_equal(read_image(write(path, overlay, BitsStored=12), 1).pixels, values[None])


def test_padding_is_no_data(tmp_path: Path) -> None:
    values = numbers(6, 7)
    values[0, :3], values[5, 5] = 63_536, 63_530
    found = read_image(write(tmp_path / "x.dcm", values, PixelPaddingValue=63_536, RescaleIntercept=-3), 1)
    assert found.valid is not None
    np.testing.assert_array_equal(found.valid, values != 63_536)
    limits = {"PixelPaddingValue": 63_536, "PixelPaddingRangeLimit": 63_530}
    found = read_image(write(tmp_path / "x.dcm", values, **limits), 1)
    np.testing.assert_array_equal(found.valid, values < 63_530)
    signed = numbers(6, 7, dtype="int16", high=100)
    signed[2] = -2000
    found = read_image(write(tmp_path / "x.dcm", signed, PixelPaddingValue=-2000), 1)
    np.testing.assert_array_equal(found.valid, signed != -2000)
    assert read_image(write(tmp_path / "x.dcm", signed, PixelPaddingValue=-7), 1).valid is None


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_an_inverse_shape_turns_grey_round_once(tmp_path: Path, photometric: str) -> None:
    values = numbers(6, 7)
    attributes = {"PhotometricInterpretation": photometric, "PresentationLUTShape": "INVERSE"}
    found = read_image(write(tmp_path / "x.dcm", values, BitsStored=12, **attributes), 1)
    np.testing.assert_array_equal(found.pixels, 4095.0 - values[None])


def test_a_window_is_not_applied_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_warnings, "_told", set())
    values = numbers(6, 7)
    path = write(tmp_path / "x.dcm", values, BitsStored=12, WindowCenter=40, WindowWidth=400)
    with pytest.warns(RuntimeWarning, match="windows .* not applied"):
        found = read_image(path, 1)
    np.testing.assert_array_equal(found.pixels, values[None])


def test_windows_are_told_once_in_a_process(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.dcm", numbers(6, 7), BitsStored=12, WindowCenter=40, WindowWidth=400)
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    code = "import sys\nfrom zoo.core.images.rasters.read import read_image\nfor p in sys.argv[1:]: read_image(p)\n"
    command = [sys.executable, "-P", "-c", code, *map(str, sorted(tmp_path.iterdir()))]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert told.count("not applied") == 1


# ---------------------------------------------------------------- frames


def test_a_frame_is_chosen_and_all_are_bands(tmp_path: Path) -> None:
    frames = numbers(3, 6, 8)
    path = write_frames(tmp_path / "x.dcm", frames, BitsStored=12)
    with pytest.raises(InvalidInputError, match="3 frames") as raised:
        read_image(path, 1)
    assert "--frames 1" in raised.value.hint
    assert "--frames all" in raised.value.hint
    for number in (1, 2, 3):
        found = read_image(path, 1, ReadOptions(in_chans=1, frames=str(number)))
        np.testing.assert_array_equal(found.pixels, frames[number - 1 : number])
    found = read_image(path, 3, ReadOptions(in_chans=3, frames="all"))
    np.testing.assert_array_equal(found.pixels, frames)
    with pytest.raises(InvalidInputError, match="no frame 4: it has 3"):
        read_image(path, 1, ReadOptions(frames="4"))
    one = write(tmp_path / "one.dcm", frames[0], BitsStored=12)
    for choice in ("1", "all"):
        np.testing.assert_array_equal(read_image(one, 1, ReadOptions(frames=choice)).pixels, frames[:1])


def test_frames_have_their_own_rescale_and_padding(tmp_path: Path) -> None:
    frames = numbers(2, 6, 8)
    frames[1, 0, 0] = 5000
    groups = pydicom.Sequence([group(1, -10), group(2, None)])
    path = write_frames(tmp_path / "x.dcm", frames, PerFrameFunctionalGroupsSequence=groups, PixelPaddingValue=5000)
    found = read_image(path, 2, ReadOptions(in_chans=2, frames="all"))
    np.testing.assert_array_equal(found.pixels, [frames[0] - 10.0, 2.0 * frames[1]])
    np.testing.assert_array_equal(found.valid, frames != 5000)


def test_frames_of_colour(tmp_path: Path) -> None:
    frames = numbers(2, 4, 6, 3, dtype="uint8", high=256)
    path = write_frames(tmp_path / "x.dcm", frames)
    found = read_image(path, 3, ReadOptions(in_chans=3, frames="2"))
    np.testing.assert_array_equal(found.pixels, frames[1].transpose(2, 0, 1))


@pytest.mark.parametrize("frames", ["0", "-1", "1.5", "every", "99999999999"])
def test_only_a_number_or_all_chooses_frames(frames: str) -> None:
    with pytest.raises(UsageError, match="'all' or a number"):
        ReadOptions(frames=frames)


# ---------------------------------------------------------------- compressed


def write_compressed(path: Path, syntax: str, data: list[bytes], rows: int, columns: int, **attributes: Any) -> Path:
    samples = attributes.pop("samples", 1)
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    write(path, np.zeros(shape, "uint8" if attributes.get("BitsStored", 8) <= 8 else "uint16"), **attributes)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.NumberOfFrames = len(data)
    dataset.PixelData = pydicom.encaps.encapsulate(data)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


JPEG, JPEG_2000, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"


def jpeg(values: np.ndarray, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file.getvalue()


def test_jpeg_in_dicom_is_what_pillow_decodes(tmp_path: Path) -> None:
    pictures = [numbers(40, 50, dtype="uint8", high=256) for _ in range(2)]
    data = [jpeg(picture + i) for i, picture in enumerate(pictures)]
    path = write_compressed(tmp_path / "x.dcm", JPEG, data, 40, 50)
    for number, frame in enumerate(data, start=1):
        found = read_image(path, 1, ReadOptions(frames=str(number)))
        with Image.open(io.BytesIO(frame)) as image:
            np.testing.assert_array_equal(np.asarray(found.pixels)[0], np.asarray(image))


def test_jpeg_2000_in_dicom(tmp_path: Path) -> None:
    values = numbers(40, 50)
    imagecodecs = pytest.importorskip("imagecodecs")
    data = imagecodecs.jpeg2k_encode(values, bitspersample=12, reversible=True, codecformat="j2k")
    path = write_compressed(tmp_path / "x.dcm", JPEG_2000, [data], 40, 50, BitsStored=12)
    np.testing.assert_array_equal(read_image(path, 1).pixels, values[None])


def test_run_lengths_in_dicom(tmp_path: Path) -> None:
    values = numbers(40, 50, dtype="uint8", high=4)
    path = write(tmp_path / "x.dcm", values)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLE)
    dataset.save_as(path)
    np.testing.assert_array_equal(read_image(path, 1).pixels, values[None])


@pytest.mark.parametrize(("syntax", "kind"), [(JPEG, "JPEG"), (JPEG_2000, "JPEG2000")])
def test_e2_a_codec_that_says_another_size_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str, kind: str
) -> None:
    data = jpeg(np.zeros((3000, 3000), np.uint8), kind)
    path = write_compressed(tmp_path / "x.dcm", syntax, [data], 8, 8)
    monkeypatch.setattr(pydicom.pixels.decoders.base.Decoder, "as_array", None)  # what would decode
    with pytest.raises(InvalidInputError, match="3000x3000 pixels of 1 samples, where the header says 8x8 of 1"):
        read_image(path, 1)


def test_e2_frames_that_are_not_there_are_not_allocated(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", numbers(6, 7), NumberOfFrames=1_000_000)
    with pytest.raises(InvalidInputError, match="84 bytes of pixels, where 1000000 frames"):
        read_image(path, 1, ReadOptions(frames="1"))


def test_e2_run_lengths_that_give_more_than_the_frame(tmp_path: Path) -> None:
    runs = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * 1_000_000
    path = write_compressed(tmp_path / "x.dcm", RLE, [runs], 8, 8)
    with pytest.raises(InvalidInputError, match="run lengths"):
        read_image(path, 1)
