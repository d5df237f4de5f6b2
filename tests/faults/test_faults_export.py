"""What `zoo export-features` makes of images that are none, and of what goes wrong meanwhile (E2 to E6, E9 to E12).

How each spelling of a fault is told is in the tests of the readers; here the command runs over bad inputs among good
ones, and the features of the good ones are those of a plain loop over the model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from PIL import Image, ImageOps
from png_bytes import bombs, chunk, png_of

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.adapt.job import OutputRequest
from zoo.core.adapt.request import AdaptRequest
from zoo.core.adapt.sources import adapt_weights

from injection import run_zoo, zoo_command

MODEL = "resnet10t"


@pytest.fixture(scope="module")
def rgb_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "rgb.safetensors"
    safetensors.torch.save_file(zoo.create_model(MODEL, seed=0).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def four_weights(rgb_weights: Path) -> Path:
    """For four bands, whose mean and std the file carries."""
    path = rgb_weights.with_name("four.safetensors")
    adapt_weights(MODEL, AdaptRequest(in_chans=4), OutputRequest(path=path), weights=rgb_weights)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "m.png", "z.png"):
        Image.fromarray(random.integers(0, 256, (48, 64, 3), np.uint8)).save(folder / name)
    return folder


def words(weights: Path, *inputs: object) -> list[object]:
    return ["export-features", MODEL, *inputs, "--weights", weights, "--out-indices", "4", "-o", "out"]


def manifest(folder: Path | str = "out") -> dict[str, dict[str, Any]]:
    """The lines by id, in their order."""
    lines = [json.loads(line) for line in (Path(folder) / "manifest.jsonl").open(encoding="utf-8")]
    assert len({line["id"] for line in lines}) == len(lines)
    return {line["id"]: line for line in lines}


def features(folder: Path | str = "out") -> dict[str, np.ndarray[Any, Any]]:
    """Those of `layer4` by id."""
    found = {}
    for name, line in manifest(folder).items():
        if line["status"] == "ok":
            found[name] = safetensors.numpy.load_file(Path(folder) / line["shard"])["layer4"][line["row"]]
    return found


def failures(folder: Path | str = "out") -> dict[str, str]:
    return {name: line["error"] for name, line in manifest(folder).items() if line["status"] == "error"}


class PlainLoop:
    """The model over one image at a time, normalised by the formula."""

    def __init__(self, weights: Path) -> None:
        self.model = zoo.create_model(MODEL, checkpoint_path=weights, features_only=True, out_indices=(4,)).eval()
        cfg = self.model.pretrained_cfg
        self.mean, self.std = (np.array(cfg[key], np.float32)[:, None, None] for key in ("mean", "std"))

    def __call__(self, unit: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Of an image (bands, height, width) on the scale 0 to 1; what is not a number is the mean."""
        x = (np.where(np.isnan(unit), self.mean, unit.astype(np.float32)) - self.mean) / self.std
        with torch.inference_mode():
            found: np.ndarray[Any, Any] = self.model(torch.from_numpy(x.astype(np.float32))[None])[0][0].numpy()
        return found

    def assert_equal(self, found: dict[str, Any], images: dict[str, np.ndarray[Any, Any]]) -> None:
        assert list(found) == sorted(images)
        for name, unit in images.items():
            expected = self(unit)
            largest = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-5 * largest, err_msg=name)


# ---------------------------------------------------------------- bombs


def test_e2_bombs_among_photographs_cost_an_error_each_and_no_memory(
    rgb_weights: Path, photos: Path, tmp_path: Path
) -> None:
    plain = run_zoo(*words(rgb_weights, photos), cwd=tmp_path)
    assert plain.code == 0, plain.stderr
    expected = bombs(photos)
    # What they would take: 300 MB the smallest.
    run = run_zoo(*words(rgb_weights, photos), "--output", "bombs", cwd=tmp_path)
    assert run.code == 3
    said = failures(tmp_path / "bombs")
    assert sorted(said) == sorted(expected)
    for name, reason in expected.items():
        assert reason in said[name]
    good = features(tmp_path / "out")
    assert list(features(tmp_path / "bombs")) == list(good) == ["a.png", "m.png", "z.png"]
    assert run.peak_mib < plain.peak_mib + 64


# ---------------------------------------------------------------- kinds of photographs


def pictures(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Pictures of every kind, and what Pillow or the numbers themselves say that they are, on the scale 0 to 1."""
    folder.mkdir()
    random = np.random.default_rng(1)
    numbers = random.integers(0, 256, (64, 64, 3), np.uint8)
    photo = Image.fromarray(numbers)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(folder / "exif.jpg", exif=exif, quality=95)
    photo.convert("CMYK").save(folder / "inks.jpg", quality=95)
    photo.quantize(16).save(folder / "palette.png")
    photo.convert("LA").save(folder / "grey_alpha.png")
    photo.convert("1").save(folder / "line_art.png")
    photo.save(folder / "photo.webp", lossless=True)
    expected = {}
    for path in folder.iterdir():
        with Image.open(path) as image:
            expected[path.name] = np.asarray(ImageOps.exif_transpose(image).convert("RGB")) / np.float32(255)
    deep = random.integers(0, 65536, (64, 64, 3), np.uint16)
    (folder / "deep.png").write_bytes(png_of(deep, "rgb"))
    plain, orientation = png_of(deep, "rgb"), b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    pixels = plain.index(b"IDAT") - 4
    (folder / "deep_exif.png").write_bytes(plain[:pixels] + chunk(b"eXIf", orientation) + plain[pixels:])
    expected["deep.png"] = deep / np.float32(65535)
    expected["deep_exif.png"] = np.rot90(deep, -1) / np.float32(65535)
    return {name: unit.transpose(2, 0, 1) for name, unit in expected.items()}


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command in this process, in tmp_path; its exit code."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: errors.run(app, list(map(str, words)))


def test_e3_pictures_of_every_kind_are_what_pillow_makes_of_them(export: Callable[..., int], rgb_weights: Path) -> None:
    expected = pictures(Path("kinds"))
    assert export(*words(rgb_weights, "kinds"), "--no-resize") == 0
    PlainLoop(rgb_weights).assert_equal(features(), expected)


def test_e3_tiffs_of_every_depth_and_layout(export: Callable[..., int], four_weights: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="comes with the extra zoo-cli[tiff]")
    random, folder = np.random.default_rng(2), Path("tiffs")
    folder.mkdir()
    expected = {}
    for name, dtype, byteorder, layout in (
        ("a_bytes.tif", np.uint8, "<", "contig"),
        ("b_words.tif", np.uint16, ">", "separate"),
        ("c_float.tif", np.float32, ">", "contig"),
        ("d_pages.tif", np.uint16, "<", "pages"),
    ):
        unit = random.random((4, 64, 64), np.float32)
        white = 1 if dtype is np.float32 else np.iinfo(dtype).max
        numbers = (unit * white).astype(dtype)
        if layout == "pages":
            tifffile.imwrite(folder / name, numbers, byteorder=byteorder, photometric="minisblack")
        else:
            stored = numbers.transpose(1, 2, 0) if layout == "contig" else numbers
            tifffile.imwrite(folder / name, stored, byteorder=byteorder, photometric="minisblack", planarconfig=layout)
        expected[name] = numbers / np.float32(white)
    assert export(*words(four_weights, "tiffs"), "--no-resize") == 0
    PlainLoop(four_weights).assert_equal(features(), expected)


# ---------------------------------------------------------------- bands and missing data


def arrays(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Four bands in numbers of several types, some big-endian, some missing (which is the mean)."""
    folder.mkdir()
    random = np.random.default_rng(3)
    expected = {}
    for name, dtype in (("a.npy", ">u2"), ("b.npy", "u1"), ("c.npy", ">f4"), ("d.npy", "f8"), ("e.npy", "i2")):
        unit = random.random((4, 64, 64))
        white = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1
        numbers = (unit * white).astype(dtype)
        expected[name] = numbers.astype(np.float32) / np.float32(white)
        if name == "c.npy":
            numbers[1, :9], numbers[2, 20, 20], numbers[0, 0, 0] = np.nan, np.inf, -np.inf
            expected[name][~np.isfinite(numbers)] = np.nan
        np.save(folder / name, numbers)
    return expected


def test_e4_numbers_of_any_type_and_byte_order_with_gaps(export: Callable[..., int], four_weights: Path) -> None:
    expected = arrays(Path("arrays"))
    assert export(*words(four_weights, "arrays"), "--no-resize") == 0
    assert "nonfinite" not in manifest()["c.npy"]
    loop = PlainLoop(four_weights)
    loop.assert_equal(features(), expected)
    # Zero is chosen by an option, and recorded.
    assert export(*words(four_weights, "arrays"), "--no-resize", "--nodata", "zero", "--force") == 0
    loop.assert_equal(features(), {name: np.nan_to_num(unit, nan=0) for name, unit in expected.items()})
    assert json.loads(Path("out/config.json").read_text())["preprocessing"]["nodata"] == "zero"
    # Or what has gaps is no input.
    assert export(*words(four_weights, "arrays"), "--no-resize", "--nodata", "error", "--force") == 3
    assert list(failures()) == ["c.npy"]
    assert "3.5% of the image has no data" in failures()["c.npy"]


def test_e4_declared_nodata_of_a_raster(export: Callable[..., int], four_weights: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="comes with the extra zoo-cli[geo]")
    scene = np.random.default_rng(4).integers(1, 10_000, (4, 64, 64), dtype=np.uint16)
    scene[:, 10:20] = 0
    scene[3, 40:50] = 0
    profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 4, "dtype": "uint16", "nodata": 0}
    place = rasterio.transform.from_origin(500_000, 5_000_000, 10, 10)
    with rasterio.open("scene.tif", "w", **profile, crs="EPSG:32632", transform=place) as file:
        file.write(scene)
    assert export(*words(four_weights, "scene.tif"), "--no-resize", "--scale", "10000") == 0
    unit = np.where(scene == 0, np.nan, scene / np.float32(10_000))
    PlainLoop(four_weights).assert_equal(features(), {"scene.tif": unit})


def test_e4_a_missing_band_names_both_counts(
    export: Callable[..., int], four_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("some").mkdir()
    np.save("some/three.npy", np.zeros((3, 64, 64), np.uint8))
    np.save("some/none.npy", np.zeros((0, 64, 64), np.uint8))
    assert export(*words(four_weights, "some")) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "zoo: error: " in captured.err
    assert "4 bands that the model reads" in failures()["three.npy"]
    assert "(3, 64, 64)" in failures()["three.npy"]
    assert "none.npy" in failures()
    np.save("some/four.npy", np.zeros((4, 64, 64), np.uint8))
    assert export(*words(four_weights, "some"), "--force") == 3
    assert list(features()) == ["four.npy"]


def test_e5_a_missing_library_is_named_with_its_extra(
    export: Callable[..., int], four_weights: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile", reason="comes with the extra zoo-cli[tiff]")
    tifffile.imwrite("x.tif", np.zeros((4, 64, 64), np.uint16), photometric="minisblack", planarconfig="separate")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert export(*words(four_weights, "x.tif")) == 4
    captured = capsys.readouterr()
    assert (captured.out, "zoo-cli[tiff]" in captured.err) == ("", True), captured.err
    assert "zoo-cli[tiff]" in manifest()["x.tif"]["hint"]


def test_e6_a_virtual_raster_is_refused_with_the_option_that_admits_it(
    export: Callable[..., int], rgb_weights: Path, capsys: Any
) -> None:
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{i}"><SimpleSource><SourceFilename>/vsicurl/http://127.0.0.1:1/x.tif'
        f"</SourceFilename><SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand>"
        for i in (1, 2, 3)
    )
    Path("x.vrt").write_text(f'<VRTDataset rasterXSize="64" rasterYSize="64">{bands}</VRTDataset>')
    assert export(*words(rgb_weights, "x.vrt")) == 4
    captured = capsys.readouterr()
    assert (captured.out, "--allow-vrt" in captured.err) == ("", True), captured.err


# ---------------------------------------------------------------- threads


def test_e9_features_do_not_depend_on_the_number_of_threads(rgb_weights: Path, photos: Path, tmp_path: Path) -> None:
    for threads in ("1", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        assert run_zoo(*words(rgb_weights, photos), "-o", threads, cwd=tmp_path, env=environment).code == 0
    one, two = features(tmp_path / "1"), features(tmp_path / "2")
    assert list(one) == list(two)
    for name, maps in one.items():
        np.testing.assert_allclose(two[name], maps, rtol=0, atol=1e-5 * max(1.0, np.abs(maps).max()))


# ---------------------------------------------------------------- names, and files that vanish


def test_e10_names_of_any_bytes_and_files_that_are_gone(rgb_weights: Path, photos: Path, tmp_path: Path) -> None:
    content = (photos / "a.png").read_bytes()
    for name in ("line\nbreak.png", "\N{SNOWMAN}.png", "sub/a.png"):
        path = photos / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    odd = photos / os.fsdecode(b"\xff\xfe.png")
    try:
        odd.write_bytes(content)
    except OSError:
        pytest.skip("this file system has no names of any bytes")
    (photos / "loop").symlink_to(photos)
    (photos / "gone.png").symlink_to("nowhere.png")
    assert run_zoo(*words(rgb_weights, photos), cwd=tmp_path).code == 3
    assert list(failures(tmp_path / "out")) == ["gone.png"]
    found = features(tmp_path / "out")
    same = {name: maps for name, maps in found.items() if name not in ("m.png", "z.png")}
    assert {os.fsencode(name) for name in same} == {
        b"a.png", b"line\nbreak.png", b"sub/a.png", "\N{SNOWMAN}.png".encode(), b"\xff\xfe.png"
    }  # fmt: skip
    for maps in same.values():
        np.testing.assert_allclose(maps, found["a.png"], rtol=0, atol=1e-5 * np.abs(maps).max())

    paths = [photos / name for name in [*same, "vanished.png"]]
    (tmp_path / "list").write_bytes(b"".join(bytes(path) + b"\0" for path in paths))
    run = run_zoo(*words(rgb_weights), "--from-file", "list", "--output", "listed", cwd=tmp_path)
    assert run.code == 3, run.stderr
    assert list(failures(tmp_path / "listed")) == [f"{photos}/vanished.png"]
    assert set(features(tmp_path / "listed")) == {f"{photos}/{name}" for name in same}


PENDING = """
import sys
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.plan import ExportPlan, FeatureStorage, Level
from zoo.core.export.run import pending_shards, report_of
from zoo.core.images.inputs.find import find_inputs

with open("list", "w") as file:
    file.writelines(f"scene-{n % 100}/tile-{n // 100}.png\\n" for n in range(int(sys.argv[1])))
level = Level(4, "layer4", 512, 1, 1, 32)
storage = FeatureStorage(pool="avg")
inputs = find_inputs(["here.png"], from_file="list")
plan = ExportPlan(
    inputs=inputs, levels=(level,), images_per_shard=1024, model={}, preprocessing={}, storage=storage
)
folder = FeatureFolder(sys.argv[1], plan)
assert len(pending_shards(folder, range(plan.num_shards))) == -(-len(inputs) // 1024)
assert not report_of(folder, range(plan.num_shards)).complete
with open("/proc/self/status") as file:
    print(next(int(line.split()[1]) for line in file if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of the process from /proc")
def test_e10_memory_of_a_plan_does_not_grow_with_its_inputs(tmp_path: Path) -> None:
    (tmp_path / "here.png").touch()
    (tmp_path / "scene-0").mkdir()
    (tmp_path / "scene-0" / "tile-0.png").touch()

    def peak(length: int) -> int:
        command = [sys.executable, "-P", "-c", PENDING, str(length)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout)

    assert peak(200_000) - peak(50_000) < 4096  # KiB, for 150,000 more: their offsets take 1172


# ---------------------------------------------------------------- processes that die, commands that meet

FATAL = """
import multiprocessing, os, signal, sys

def die(event, arguments):
    deed = os.path.basename(str(arguments[0])) if event == "open" and arguments else ""
    if deed in ("kill.png", "crash.png", "exit.png") and multiprocessing.parent_process() is not None:
        if deed == "exit.png":
            os._exit(7)
        os.kill(os.getpid(), signal.SIGKILL if deed == "kill.png" else signal.SIGSEGV)

sys.addaudithook(die)
"""


def test_e11_files_that_kill_their_decoder_are_listed_and_the_rest_exported(
    rgb_weights: Path, photos: Path, tmp_path: Path
) -> None:
    assert run_zoo(*words(rgb_weights, photos), cwd=tmp_path).code == 0
    for name in ("crash.png", "exit.png", "kill.png"):
        (photos / name).write_bytes((photos / "a.png").read_bytes())
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(FATAL)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    more = ["--workers", "2", "--output", "survived", "--json"]
    run = run_zoo(*words(rgb_weights, photos), *more, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    assert run.code == 3, run.stderr
    assert json.loads(run.stdout)["images"] == 3
    reasons = {"crash.png": "ended by SIGSEGV", "exit.png": "ended with code 7", "kill.png": "ended by SIGKILL"}
    found = failures(tmp_path / "survived")
    assert list(found) == list(reasons)
    for name, reason in reasons.items():
        assert reason in found[name]
    survived, plain = features(tmp_path / "survived"), features(tmp_path / "out")
    assert list(survived) == list(plain)
    for name, maps in plain.items():
        np.testing.assert_array_equal(survived[name], maps)


def test_e12_two_commands_at_once_leave_what_one_leaves(rgb_weights: Path, photos: Path, tmp_path: Path) -> None:
    fixed = [*words(rgb_weights, photos), "--images-per-shard", "1"]
    assert run_zoo(*fixed, "--output", "alone", cwd=tmp_path).code == 0
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    jobs = [subprocess.Popen(zoo_command(*fixed), cwd=tmp_path, **pipes) for _ in range(2)]
    told = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], told
    assert [error for _, error in told] == ["", ""]
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_e12_a_command_with_other_options_is_refused_meanwhile(rgb_weights: Path, photos: Path, tmp_path: Path) -> None:
    assert run_zoo(*words(rgb_weights, photos), "--shard", "1/2", cwd=tmp_path).code == 0
    before = contents(tmp_path / "out")
    run = run_zoo(*words(rgb_weights, photos), "--pool", "avg", "--shard", "2/2", cwd=tmp_path)
    assert (run.code, run.stdout) == (2, "")
    assert "pool" in run.stderr
    assert contents(tmp_path / "out") == before


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
