"""Georeferenced rasters; what rasterio wrote, or reads by itself, is the truth. And what GDAL must not be led to do."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.read import open_raster, read_image

rasterio = pytest.importorskip("rasterio")

UTM = {"crs": "EPSG:32633", "transform": [10.0, 0.0, 499_980.0, 0.0, -10.0, 5_200_020.0]}


def numbers(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(5).integers(1, 200, shape).astype(dtype)


def write(path: Path, values: np.ndarray, names: tuple[str, ...] = (), **profile: Any) -> Path:
    bands, height, width = values.shape
    profile = {"crs": UTM["crs"], "transform": rasterio.Affine(*UTM["transform"]), **profile}
    shape = {"count": bands, "height": height, "width": width, "dtype": values.dtype.name}
    with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file:
        file.write(values)
        for i, name in enumerate(names, start=1):
            file.set_band_description(i, name)
    return path


def read(path: Path, window: Window | None = None, **options: Any) -> Raster:
    with open_raster(ImageInput(path.name, str(path)), ReadOptions(**options)) as file:
        return file.read(window)


@pytest.fixture
def without_rasterio(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tifffile")
    monkeypatch.setattr("zoo.core.images.rasters.read.has_package", lambda name: name != "rasterio")


def test_windows_carry_their_place_on_the_ground(tmp_path: Path) -> None:
    values = numbers(5, 60, 80)
    names = ("B02", "B03", "B04", "B08", "B11")
    path = write(tmp_path / "x.tif", values, names, tiled=True, blockxsize=16, blockysize=16, compress="deflate")
    with open_raster(ImageInput("x", str(path))) as file:
        assert (file.num_bands, file.height, file.width, file.band_names) == (5, 60, 80, names)
        assert file.georeference == UTM
        found = file.read(Window(20, 30, 16, 8))
    np.testing.assert_array_equal(found.pixels, values[:, 30:38, 20:36])
    assert found.georeference == {"crs": "EPSG:32633", "transform": [10.0, 0.0, 500_180.0, 0.0, -10.0, 5_199_720.0]}
    assert (found.white, found.valid) == (65535, None)
    np.testing.assert_array_equal(read_image(path, 2, ReadOptions(bands=("b11", "1"))).pixels, values[[4, 0]])


@pytest.mark.usefixtures("without_rasterio")
@pytest.mark.parametrize("point", ["Area", "Point"])
def test_georeference_is_the_same_without_rasterio(tmp_path: Path, point: str) -> None:
    for crs in ("EPSG:32633", "EPSG:4326"):
        path = write(tmp_path / "x.tif", numbers(5, 6, 7), crs=crs)
        with rasterio.open(path, "r+") as file:
            file.update_tags(AREA_OR_POINT=point)
        with rasterio.open(path) as file:
            expected = [float(v) for v in file.transform[:6]]
        found = read(path).georeference
        assert found is not None
        assert found["crs"] == crs
        assert found["transform"] == pytest.approx(expected)


def test_8_bit_colour_is_the_same_with_and_without_rasterio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = numbers(3, 20, 30, dtype="uint8")
    path = write(tmp_path / "x.tif", values, photometric="rgb")
    found = read_image(path)
    np.testing.assert_array_equal(found.pixels, values)
    monkeypatch.setattr("zoo.core.images.rasters.read.has_package", lambda name: False)
    by_pillow = read_image(path)
    assert isinstance(by_pillow.pixels, Image.Image)
    np.testing.assert_array_equal(np.asarray(by_pillow.pixels).transpose(2, 0, 1), values)
    assert (by_pillow.white, by_pillow.georeference) == (found.white, found.georeference)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_e4_nodata_is_not_valid(tmp_path: Path, dtype: str) -> None:
    values = numbers(3, 6, 7, dtype=dtype)
    values[1, 2:4] = -9999
    path = write(tmp_path / "x.tif", values, nodata=-9999)
    found = read(path, Window(1, 1, 5, 4))
    np.testing.assert_array_equal(found.valid, values[:, 1:5, 1:6] != -9999)


def test_e4_nodata_that_is_not_a_number(tmp_path: Path) -> None:
    values = numbers(3, 6, 7, dtype="float32")
    values[1, 2:4] = np.nan
    found = read(write(tmp_path / "x.tif", values, nodata=float("nan")))
    np.testing.assert_array_equal(found.valid, ~np.isnan(values))


def test_e4_an_internal_mask_says_where_data_is(tmp_path: Path) -> None:
    mask = numbers(6, 7) > 100
    path = tmp_path / "x.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(path, numbers(4, 6, 7))
        with rasterio.open(path, "r+") as file:
            file.write_mask(mask)
    np.testing.assert_array_equal(read(path).valid, np.broadcast_to(mask, (4, 6, 7)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("with_rasterio", [True, False])
def test_alpha_says_where_data_is_and_is_no_band(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, with_rasterio: bool
) -> None:
    monkeypatch.setattr("zoo.core.images.rasters.read.has_package", lambda name: with_rasterio)
    values = numbers(4, 6, 7, dtype=dtype)
    values[3, :, :3] = 0
    path = write(tmp_path / "x.tif", values, photometric="rgb", alpha="unspecified")
    with rasterio.open(path, "r+") as file:
        kinds = rasterio.enums.ColorInterp
        file.colorinterp = (kinds.red, kinds.green, kinds.blue, kinds.alpha)
    found = read_image(path, 3)
    np.testing.assert_array_equal(found.pixels, values[:3])
    assert found.valid is not None
    np.testing.assert_array_equal(np.broadcast_to(found.valid, (3, 6, 7)), np.broadcast_to(values[3] != 0, (3, 6, 7)))
    np.testing.assert_array_equal(read_image(path, 4).pixels, values)


def test_e4_a_wrong_band_count_names_both(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", numbers(12, 6, 7))
    with pytest.raises(InvalidInputError, match=r"x\.tif: The model reads 13 channels, 12 bands"):
        read_image(path, 13)


def test_e5_asking_for_rasterio_without_it_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.tif", numbers(3, 6, 7))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(InvalidInputError, match="needs rasterio, which is not installed") as raised:
        read(path, geo=True)
    assert "pip install 'zoo-cli[geo]'" in raised.value.hint


def test_a_raster_within_an_archive(tmp_path: Path) -> None:
    values = numbers(5, 6, 7)
    path = write(tmp_path / "x.tif", values)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(path, "first.tif")
        archive.add(path, "second.tif")
    with tarfile.open(tmp_path / "a.tar") as archive:
        member = archive.getmember("second.tif")
    item = ImageInput("x", str(tmp_path / "a.tar"), member.name, member.offset_data, member.size)
    found = read_image(item, 5)
    np.testing.assert_array_equal(found.pixels, values)
    assert found.georeference == UTM


@pytest.mark.parametrize("name", ["a?b#c!d.tif", "GTIFF_DIR:1:x.tif", "caf\udce9.tif", "new\nline.tif"])
def test_names_mean_nothing_to_gdal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    values = numbers(5, 6, 7)
    write(tmp_path / "plain.tif", values)
    os.rename(tmp_path / "plain.tif", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(read_image(name, 5).pixels, values)


def test_open_files_are_closed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", numbers(5, 6, 7))
    (tmp_path / "bad.tif").write_bytes(path.read_bytes()[:300])
    read(path)
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        read(path)
        with pytest.raises(InvalidInputError):
            read(tmp_path / "bad.tif", geo=True)
    assert len(os.listdir("/dev/fd")) == before


# ---------------------------------------------------------------- other files and the network


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Address of a server on this machine, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}", asked
        served.shutdown()


def vrt(source: str, *, relative: bool = False) -> str:
    return (
        '<VRTDataset rasterXSize="7" rasterYSize="6"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="{int(relative)}">{source}</SourceFilename><SourceBand>2</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )


def test_e6_a_url_is_only_a_name_of_a_file_that_is_not_there(server: tuple[str, list[str]]) -> None:
    url, asked = server
    for path in (f"{url}/x.tif", f"/vsicurl/{url}/x.tif", f"/vsizip/vsicurl/{url}/x.zip/x.tif"):
        with pytest.raises(NotFoundError, match="no file"):
            read_image(path)
    assert asked == []


def test_e6_a_virtual_raster_is_refused(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    url, asked = server
    (tmp_path / "x.vrt").write_text(vrt(f"/vsicurl/{url}/x.tif"))
    (tmp_path / "x.tif").write_text(vrt(f"/vsicurl/{url}/x.tif"))
    for name in ("x.vrt", "x.tif"):
        with pytest.raises(InvalidInputError, match="virtual raster") as raised:
            read(tmp_path / name)
        assert "--allow-vrt" in raised.value.hint
    assert asked == []


def read_alone(path: Path) -> str:
    """What reading an allowed virtual raster gives in a process where GDAL starts with it: its sum, or the error."""
    code = (
        "import sys; from zoo.core.images.rasters.read import *\n"
        "from zoo.core.images.rasters.options import ReadOptions\n"
        "try: print(read_image(sys.argv[1], 1, ReadOptions(in_chans=1, allow_vrt=True)).pixels.sum())\n"
        "except InvalidInputError as error: print(error)"
    )
    command = [sys.executable, "-P", "-c", code, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "source",
    ["/vsicurl/{url}/x.tif", "&#47;vsicurl/{url}/x.tif", "{url}/x.tif", "&lt;GDAL_WMS>{url}&lt;/GDAL_WMS>", "wms.xml"],
)
def test_e6_an_allowed_virtual_raster_reaches_no_network(
    tmp_path: Path, server: tuple[str, list[str]], source: str
) -> None:
    url, asked = server
    service = f'<Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>'
    corners = {"UpperLeftX": 0, "UpperLeftY": 9, "LowerRightX": 9, "LowerRightY": 0, "SizeX": 7, "SizeY": 6}
    window = "".join(f"<{name}>{value}</{name}>" for name, value in corners.items())
    wms = f"<GDAL_WMS>{service}<DataWindow>{window}</DataWindow><BandsCount>3</BandsCount></GDAL_WMS>"
    (tmp_path / "wms.xml").write_text(wms)
    (tmp_path / "x.vrt").write_text(vrt(source.format(url=url), relative=source == "wms.xml"))
    assert f"{tmp_path / 'x.vrt'}: " in read_alone(tmp_path / "x.vrt")
    assert asked == []
    if source == "wms.xml":  # what GDAL does if it may
        with suppress(rasterio.errors.RasterioError), rasterio.open(tmp_path / "wms.xml") as file:
            file.read(1)
        assert asked != []


def test_an_allowed_virtual_raster_of_local_files_is_read(tmp_path: Path) -> None:
    values = numbers(3, 6, 7)
    write(tmp_path / "x.tif", values)
    (tmp_path / "x.vrt").write_text(vrt("x.tif", relative=True))
    assert read_alone(tmp_path / "x.vrt").strip() == str(values[1].sum())


def test_e6_no_virtual_raster_where_gdal_was_started_with_the_network(tmp_path: Path) -> None:
    write(tmp_path / "x.tif", numbers(3, 6, 7))  # this starts it
    (tmp_path / "x.vrt").write_text(vrt("x.tif", relative=True))
    with pytest.raises(InvalidInputError, match="drivers that use the network"):
        read(tmp_path / "x.vrt", allow_vrt=True)


def test_e6_files_beside_the_image_are_not_read(tmp_path: Path) -> None:
    values = numbers(3, 6, 7)
    path = write(tmp_path / "x.tif", values)
    band = '<PAMRasterBand band="1"><Description>forged</Description><NoDataValue>7</NoDataValue></PAMRasterBand>'
    (tmp_path / "x.tif.aux.xml").write_text(f"<PAMDataset>{band}</PAMDataset>")
    (tmp_path / "x.tfw").write_text("1\n0\n0\n-1\n5\n5\n")
    (tmp_path / "x.tif.msk").write_bytes(path.read_bytes())
    (tmp_path / "x.tif.ovr").write_bytes(path.read_bytes())
    with rasterio.open(path) as file:
        assert file.descriptions[0] == "forged"  # what GDAL does if it may
    found = read(path)
    assert (found.band_names, found.valid, found.georeference) == ((), None, UTM)


def test_gdal_never_reads_another_page_than_the_chosen_one(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pages = numbers(3, 20, 30)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for page in pages:
            file.write(page, metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "x.tif", in_chans=1, pages="2").pixels, pages[1:2])
    np.testing.assert_array_equal(read(tmp_path / "x.tif", in_chans=1, pages="1", geo=True).pixels, pages[:1])
    with pytest.raises(InvalidInputError, match="3 pages") as raised:
        read(tmp_path / "x.tif", in_chans=1, pages="2", geo=True)
    assert raised.value.hint == "Leave out --geo."
