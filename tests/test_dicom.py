"""DICOM of one frame, written by pydicom; expectations from the formulas of PS3.3."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.core.errors import InvalidInputError
from zoo.core.inputs.image_input import ImageInput, Window
from zoo.core.rasters.options import ReadOptions
from zoo.core.rasters.read import open_raster, read_image

pydicom = pytest.importorskip("pydicom")

JPEG_LS = "1.2.840.10008.1.2.4.80"
DEFLATED = "1.2.840.10008.1.2.1.99"


def write(path: Path, values: np.ndarray, *, syntax: str = "1.2.840.10008.1.2.1", **attributes: Any) -> Path:
    """Write (height, width) or (height, width, 3)."""
    dataset = pydicom.Dataset()
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    dataset["PixelData"].VR = "OW" if values.itemsize > 1 else "OB"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    if pydicom.uid.UID(syntax).is_encapsulated:
        dataset.PixelData = pydicom.encaps.encapsulate([values.tobytes()])
        dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def numbers(*shape: int, dtype: str = "uint16", high: int = 4096) -> np.ndarray:
    return np.random.default_rng(5).integers(0, high, shape).astype(dtype)


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
