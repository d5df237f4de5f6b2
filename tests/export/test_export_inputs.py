"""What `zoo export-features` knows of its inputs: which they are, whether they changed, how much of them is data."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import InvalidInputError
from zoo.core.export import prepare
from zoo.core.export.request import ExportRequest, Inputs
from zoo.core.export.watched_weights import WatchedWeights
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.read import open_raster, read_image

MODEL = "resnet10t"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "rgb.safetensors"
    safetensors.torch.save_file(zoo.create_model(MODEL, seed=0).state_dict(), path)
    return path


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in "abcde":
        paint(tmp_path / "photos" / f"{name}.png", ord(name))
    return tmp_path


def paint(path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    Image.fromarray(random.integers(0, 256, (40, 40, 3), np.uint8)).save(path, compress_level=0)  # all of one size


@pytest.fixture
def export(weights: Path, work: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the command with --json; exit code, document (None where there is none), notes."""

    def run(*words: object, out: str = "out") -> tuple[int, Any, list[str]]:
        fixed = ["export-features", MODEL, "--weights", weights, "-o", out, "--out-indices", "4", "--pool", "avg"]
        code = errors.run(app, [str(word) for word in [*fixed, "--json", *words]])
        told, said = capsys.readouterr()
        notes = [json.loads(line) for line in said.splitlines()]
        return code, json.loads(told) if told else None, [note["note"] for note in notes if "note" in note]

    return run


def manifest(out: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "manifest.jsonl").read_text().splitlines()]


def features(out: str = "out") -> dict[str, Any]:
    found = {}
    for line in manifest(out):
        if line["status"] == "ok":
            found[line["id"]] = safetensors.numpy.load_file(Path(out) / line["shard"])["layer4"][line["row"]]
    return found


# ---------------------------------------------------------------- what an export wrote


@pytest.mark.parametrize("file_format", ["safetensors", "npy", "zarr"])
def test_what_an_export_wrote_is_no_input_of_the_next(export: Callable[..., Any], file_format: str) -> None:
    words = ("photos", "--format", file_format, "--preview", "photos/p.png")
    assert export(*words, out="photos/out")[1]["images"] == 5
    _, first, _ = export(*words, out="photos/again")
    assert first["images"] == 5
    code, second, _ = export(*words, out="photos/again")
    assert (code, second["images"], second["changed"]) == (0, 5, False)


@pytest.mark.parametrize("how", ["pattern", "list", "named"])
def test_however_they_are_found_own_files_are_left_out(export: Callable[..., Any], how: str) -> None:
    words = ("--format", "npy", "--preview", "photos/p.png")
    assert export("photos", *words, out="photos/out")[0] == 0
    found = [*map(str, Path("photos").rglob("*.np?")), "photos/p.png", "photos/a.png"]
    assert len(found) == 4
    Path("list").write_text("\n".join(found))
    given = {"pattern": ["photos/**/*"], "list": ["--from-file", "list"], "named": found}[how]
    code, document, _ = export(*given, *words, out="second")
    assert (code, document["images"]) == (0, 5 if how == "pattern" else 1)


@pytest.mark.parametrize("name", ["p.png", "P.PNG", "below.png/p.png"])
def test_a_preview_of_another_command_is_no_input(export: Callable[..., Any], name: str) -> None:
    picture = Path("photos", name)
    picture.parent.mkdir(exist_ok=True)
    assert export("photos", "--preview", picture, out="first")[0] == 0
    with Image.open(picture) as image:
        assert image.text == {"Software": "zoo export-features --preview"}  # type: ignore[attr-defined]
    code, document, notes = export("photos", out="second")
    assert (code, document["images"], notes) == (0, 5, [])
    Path("list").write_text(f"photos/a.png\n{picture}\n")
    for given in (["photos/**/*.[pP][nN][gG]"], ["--from-file", "list"], ["photos/a.png", picture]):
        code, document, _ = export(*given, out=f"out{len(given)}{given[0][-1]}".replace("/", ""))
        assert (code, document["images"]) == (0, 5 if "**" in given[0] else 1)


def test_pictures_that_other_programs_wrote_are_inputs(export: Callable[..., Any]) -> None:
    for number, words in enumerate(({"Software": "zoo export-features"}, {"Title": "zoo export-features --preview"})):
        info = PngInfo()
        for keyword, text in words.items():
            info.add_text(keyword, text)
        Image.new("RGB", (40, 40)).save(f"photos/x{number}.png", pnginfo=info)
    for name, data in (("empty", b""), ("cut", Path("photos/a.png").read_bytes()[:20])):
        Path("photos", f"{name}.png").write_bytes(data)
    Path("photos/gone.png").symlink_to("nowhere.png")
    os.mkfifo("photos/pipe.png")  # no regular file, and nobody writes to it
    code, document, _ = export("photos")
    assert (code, document["images"], document["num_failed"]) == (3, 7, 3)


def test_what_only_looks_like_an_export_is_read(export: Callable[..., Any]) -> None:
    Path("photos/config.json").write_text('{"architectures": ["ViT"], "schema_version": 1}')
    np.save("photos/features-00000.npy", np.zeros((3, 40, 40), np.uint8))
    assert export("photos")[1]["images"] == 6


def test_what_is_passed_over_is_told_in_one_line(export: Callable[..., Any]) -> None:
    for name in ("1.txt", "2.txt", "x.xyz", "README.md"):
        Path("photos", name).write_text("text")
    with zipfile.ZipFile("more.zip", "w") as archive:
        archive.write("photos/a.png", "a.png")
        archive.writestr("a.json", "{}")
    assert export("photos", "more.zip")[2] == ["4 files were passed over: 2 .txt, 1 .json, 1 .xyz."]


# ---------------------------------------------------------------- identity


def test_the_manifest_says_what_was_read(export: Callable[..., Any]) -> None:
    with tarfile.open("photos/t.tar", "w") as archive:
        archive.add("photos/b.png", "b.png")
    assert export("photos", "photos/t.tar", "--hash")[0] == 0
    for line in manifest():
        path = Path("photos/t.tar" if "t.tar" in line["id"] else line["id"])
        assert (line["bytes"], line["mtime_ns"]) == (path.stat().st_size, path.stat().st_mtime_ns)
        content = Path("photos/b.png") if "t.tar" in line["id"] else path
        assert line["sha256"] == hashlib.sha256(content.read_bytes()).hexdigest()


def test_an_input_that_is_replaced_is_computed_anew(export: Callable[..., Any], work: Path) -> None:
    words = ("photos", "--images-per-shard", "2")
    export(*words)
    kept = {name: os.stat(work / "out" / name).st_mtime_ns for name in ("features-00000.safetensors",)}
    paint(work / "photos" / "c.png", 99)
    os.utime(work / "photos" / "c.png", ns=(0, 1))
    code, document, notes = export(*words)
    assert (code, document["changed"]) == (0, True)
    assert notes == ["1 input has changed since the last run, and the features are computed anew: c.png"]
    assert {name: os.stat(work / "out" / name).st_mtime_ns for name in kept} == kept
    export(*words, out="fresh")
    for name, vector in features("fresh").items():
        np.testing.assert_array_equal(features()[name], vector, err_msg=name)
    assert manifest() == manifest("fresh")
    assert export(*words)[1]["changed"] is False


def test_parts_of_one_export_agree_whenever_inputs_change(export: Callable[..., Any], work: Path) -> None:
    words = ("photos", "--images-per-shard", "1")
    export(*words, "--shard", "1/2")
    for path in (work / "photos").iterdir():
        os.utime(path, ns=(0, 5))
    code, document, notes = export(*words, "--shard", "2/2")
    assert (code, document["complete"], notes) == (0, True, [])
    assert len(export(*words)[2]) == 1  # of the three that the first part had read


def test_with_hash_content_decides(export: Callable[..., Any], work: Path) -> None:
    export("photos", "--hash")
    path = work / "photos" / "b.png"
    os.utime(path, ns=(0, 1))
    assert export("photos", "--hash")[1]["changed"] is False
    before = path.stat()
    paint(path, 200)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    _, document, notes = export("photos", "--hash")
    assert (document["changed"], len(notes)) == (True, 1)


def test_an_input_that_is_gone_costs_nothing_that_was_computed(export: Callable[..., Any], work: Path) -> None:
    Path("list").write_text("photos/a.png\nphotos/b.png\n")
    export("--from-file", "list")
    (work / "photos" / "b.png").unlink()
    code, document, notes = export("--from-file", "list")
    assert (code, document["images"], document["changed"], notes) == (0, 2, False, [])


def test_an_input_that_was_mended_is_read_again(export: Callable[..., Any], work: Path) -> None:
    good = (work / "photos" / "d.png").read_bytes()
    (work / "photos" / "d.png").write_bytes(good[:100])
    Path("list").write_text("photos/a.png\nphotos/d.png\nphotos/z.png\n")
    assert export("--from-file", "list")[1]["num_failed"] == 2
    assert export("--from-file", "list")[1]["changed"] is False
    (work / "photos" / "d.png").write_bytes(good)
    (work / "photos" / "z.png").write_bytes(good)
    code, document, notes = export("--from-file", "list")
    assert (code, document["images"]) == (0, 3)
    assert "2 inputs have changed" in notes[0]


def test_manifests_of_earlier_versions_tell_of_no_change(export: Callable[..., Any], work: Path) -> None:
    export("photos")
    part = work / "out" / "manifest-00000.jsonl"
    head, *lines = (json.loads(line) for line in part.read_text().splitlines())
    for line in lines:
        del line["bytes"], line["mtime_ns"]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for field in ("skipped", "bright_images", "largest", "stamps_sha256"):
        del head[field]
    head["lines_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    part.write_text(json.dumps(head) + "\n" + text)
    os.utime(work / "photos" / "a.png", ns=(0, 1))
    code, _, notes = export("photos")
    assert (code, notes) == (0, [])
    assert "bytes" not in manifest()[0]
    assert export("photos")[1]["changed"] is False


def test_an_export_goes_on_where_its_folder_has_moved(export: Callable[..., Any], work: Path) -> None:
    export(work / "photos", "--relative-to", work)
    assert (manifest()[0]["id"], manifest()[0]["source"]) == ("photos/a.png", "photos/a.png")
    (work / "new").mkdir()
    (work / "photos").rename(work / "new" / "photos")
    code, document, _ = export(work / "new" / "photos", "--relative-to", work / "new")
    assert (code, document["changed"]) == (0, False)
    assert export(work / "new", "--relative-to", work / "out", out="third")[0] == 2


# ---------------------------------------------------------------- what there is of the pixels


def test_empty_tiles_are_skipped_and_listed(export: Callable[..., Any]) -> None:
    values = np.random.default_rng(0).random((3, 64, 128), np.float32)
    values[:, :, 64:] = np.nan
    values[:, :16, :64] = np.nan
    np.save("scene.npy", values)
    words = ("scene.npy", "--tile", "64", "--no-resize")
    code, document, notes = export(*words, "--min-valid", "0.5")
    assert (code, document["images"], document["num_skipped"], document["num_failed"]) == (0, 1, 1, 0)
    assert notes == ["Skipped, with less data than --min-valid asks: 1 of 2."]
    assert [(line["status"], line["valid"]) for line in manifest()] == [("ok", 0.75), ("skipped", 0.0)]
    assert manifest()[1]["window"] == {"left": 64, "top": 0, "width": 64, "height": 64}
    code, document, _ = export(*words, "--min-valid", "0.5")
    assert (code, document["changed"]) == (0, False)
    code, document, _ = export(*words, "--min-valid", "0.9", "--on-error", "stop", out="none")
    assert (code, document["images"], document["num_skipped"]) == (0, 0, 2)
    assert export(*words, "--min-valid", "2")[0] == 2
    assert export(*words, out="all")[1]["images"] == 2
    assert "valid" not in json.dumps(manifest("out")[0]["levels"])


def test_floats_above_1_get_one_note(export: Callable[..., Any]) -> None:
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(f"{name}.npy", random.random((3, 40, 40), np.float32) * 200 + 55)
    np.save("c.npy", random.random((3, 40, 40), np.float32))
    np.save("d.npy", random.integers(0, 256, (3, 40, 40), np.uint8))
    files = [f"{name}.npy" for name in "abcd"]
    code, _, notes = export(*files)
    assert code == 0
    assert len(notes) == 1
    assert notes[0].startswith("2 images hold floating point numbers above 1, up to 25")
    assert [("largest" in line) for line in manifest()] == [True, True, False, False]
    assert manifest()[0]["largest"] == pytest.approx(float(np.load("a.npy").max()))
    assert export(*files, "--scale", "255", out="scaled")[2] == []
    assert export("c.npy", "d.npy", out="small")[2] == []


# ---------------------------------------------------------------- files that change under the run


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("layout", ["hw", "chw", "hwc"])
def test_windows_of_stored_arrays_are_those_of_numpy(work: Path, order: Any, layout: str) -> None:
    shape = {"hw": (30, 50), "chw": (4, 30, 50), "hwc": (30, 50, 4)}[layout]
    values = np.asarray(np.random.default_rng(0).integers(0, 1000, shape, np.int16), order=order)
    np.save("x.npy", values.astype(">i2"))
    planes = np.moveaxis(values, 2, 0) if layout == "hwc" else values.reshape(-1, 30, 50)
    bands = 1 if layout == "hw" else 4
    with open_raster(ImageInput("x.npy", "x.npy"), ReadOptions(in_chans=bands)) as file:
        for left, top, width, height in ((0, 0, 50, 30), (3, 5, 7, 11), (49, 29, 1, 1), (0, 4, 50, 2), (8, 0, 1, 30)):
            found = file.read(Window(left, top, width, height)).pixels
            np.testing.assert_array_equal(found, planes[:, top : top + height, left : left + width])


def test_an_array_that_shrinks_while_it_is_read_is_an_error_and_no_crash(work: Path) -> None:
    np.save("x.npy", np.zeros((3, 512, 512), np.float32))
    with open_raster(ImageInput("x.npy", "x.npy"), ReadOptions(in_chans=3)) as file:
        os.truncate("x.npy", 100_000)
        with pytest.raises(InvalidInputError, match=r"x\.npy: the file became shorter"):
            file.read(Window(0, 400, 512, 100))
    with pytest.raises(InvalidInputError, match="truncated"):
        read_image("x.npy", 3)


def test_weights_that_are_written_to_are_noticed_before_a_shard_is_published(
    weights: Path, work: Path, export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(weights.read_bytes())
    real = prepare.read_image

    def meddle(item: Any, *more: Any) -> Any:
        if item.id == "d.png":
            with open(own, "r+b") as file:
                file.seek(-4, 2)
                file.write(b"\0\0\0\0")
        return real(item, *more)

    monkeypatch.setattr(prepare, "read_image", meddle)
    code, document, _ = export("photos", "--weights", own, "--images-per-shard", "2", "--batch-size", "1")
    assert (code, document) == (4, None)
    assert not Path("out/manifest.jsonl").exists()
    assert not Path("out/manifest-00001.jsonl").exists()


def test_weights_that_are_replaced_by_a_rename_are_still_those_that_were_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"w": torch.ones(2)}, path)
    watched = WatchedWeights(path)
    safetensors.torch.save_file({"w": torch.zeros(3)}, tmp_path / "new")
    os.replace(tmp_path / "new", path)
    watched.check()
    with open(watched.path, "r+b") as file:
        file.write(b"x")
    watched.check()


def test_a_request_finds_the_same_inputs_in_another_process(weights: Path, work: Path) -> None:
    Path("t.csv").write_text("path\nphotos/a.png\n")
    request = ExportRequest(
        model=MODEL,
        inputs=Inputs((), "t.csv", column="path", relative_to=".", hashes=True),
        weights=str(weights),
    )
    assert request.open().plan.fingerprint == request.open().plan.fingerprint
