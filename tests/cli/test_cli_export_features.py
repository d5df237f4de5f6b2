"""`zoo export-features` over a real architecture with random weights and the two photographs of tests/data."""

from __future__ import annotations

import json
import os
import pickle
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from PIL import Image

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.export.request import ExportRequest, Inputs
from zoo.core.images.preprocess import Preprocess
from zoo.core.images.rasters.read import read_image

from processes import read_terminal, started

DATA = Path(__file__).parents[1] / "data"


class Run(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    safetensors.torch.save_file(zoo.create_model("resnet18", seed=0).state_dict(), path)
    return path


@pytest.fixture
def export(weights: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Run]:
    """Run `zoo export-features resnet18 <words>` with the random weights, into tmp_path/out."""

    def run(*words: object) -> Run:
        fixed = ["export-features", "resnet18", "--weights", weights, "--output", tmp_path / "out"]
        return Run(errors.run(app, [str(word) for word in [*fixed, *words]]), *capsys.readouterr())

    return run


def test_maps_of_the_levels_asked_for(export: Callable[..., Run], weights: Path, tmp_path: Path) -> None:
    run = export(DATA, "--out-indices", "2,3,4", "--json")
    assert (run.returncode, run.stderr) == (0, "")
    document = json.loads(run.stdout)
    assert document["schema_version"] == 1
    assert [(m["module"], m["channels"], m["height"], m["stride"]) for m in document["levels"]] == [
        ("layer2", 128, 28, 8),
        ("layer3", 256, 14, 16),
        ("layer4", 512, 7, 32),
    ]
    stored = safetensors.numpy.load_file(tmp_path / "out" / "features-00000.safetensors")
    model = zoo.create_model("resnet18", checkpoint_path=weights, features_only=True, out_indices=(2, 3, 4)).eval()
    preprocess = Preprocess.from_cfg(model.pretrained_cfg)
    for row, name in enumerate(["chelsea.png", "coffee.png"]):
        with torch.inference_mode():
            expected = model(torch.from_numpy(preprocess.array(read_image(DATA / name)))[None])
        for module, wanted in zip(["layer2", "layer3", "layer4"], expected, strict=True):
            np.testing.assert_allclose(stored[module][row], wanted[0].numpy(), atol=1e-5)


def test_lines_in_a_pipe(export: Callable[..., Run], tmp_path: Path) -> None:
    run = export(DATA, "--out-indices", "4")
    assert run.stdout.splitlines() == [
        f"out: {tmp_path / 'out'}",
        "images: 2",
        "shards: 1",
        "failed: 0",
        "level: index=4 module=layer4 channels=512 height=7 width=7 stride=32",
    ]
    assert export(DATA, "--out-indices", "-1").stdout.splitlines()[-1] == "unchanged"


def test_config_names_the_weights(export: Callable[..., Run], weights: Path, tmp_path: Path) -> None:
    export(DATA, "--out-indices", "4")
    model = json.loads((tmp_path / "out" / "config.json").read_text())["model"]
    assert (model["architecture"], model["weights"]["source"]) == ("resnet18", "file:resnet18.safetensors")
    expected = subprocess.run(["sha256sum", weights], capture_output=True, text=True, check=True).stdout.split()[0]
    assert model["weights"]["sha256"] == expected


def test_grey_input(export: Callable[..., Run], tmp_path: Path) -> None:
    assert export(DATA, "--out-indices", "4", "--in-chans", "1").returncode == 0
    preprocessing = json.loads((tmp_path / "out" / "config.json").read_text())["preprocessing"]
    assert preprocessing["mean"] == pytest.approx([(0.485 + 0.456 + 0.406) / 3])


def test_an_adapted_file_needs_no_flags(weights: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = {"architecture": "resnet18", "pretrained_cfg": {"first_conv": "conv1", "mean": [0.1, 0.2, 0.6]}}
    source, grey = tmp_path / "source", tmp_path / "grey.safetensors"
    source.mkdir()
    (source / "config.json").write_text(json.dumps(config))
    (source / "model.safetensors").symlink_to(weights)
    words = ["adapt-weights", str(source), "--in-chans", "1", "--num-classes", "0", "-o", str(grey)]
    assert errors.run(app, words) == 0, capsys.readouterr().err
    words = ["export-features", "resnet18", str(DATA), "--weights", str(grey), "-o", str(tmp_path / "out")]
    assert errors.run(app, words) == 0, capsys.readouterr().err
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model"]["in_chans"] == 1
    assert config["preprocessing"]["mean"] == pytest.approx([0.3])


def test_a_forged_configuration_is_refused(weights: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = {"schema_version": 1, "in_chans": 3, "num_classes": 1000, "mean": ["high"] * 3}
    forged = tmp_path / "forged.safetensors"
    tensors = safetensors.torch.load_file(weights)
    safetensors.torch.save_file(tensors, forged, metadata={"zoo": json.dumps(config)})
    words = ["export-features", "resnet18", str(DATA), "--weights", str(forged), "-o", str(tmp_path / "out")]
    assert errors.run(app, words) == 4
    assert "does not describe a model's input" in capsys.readouterr().err


def test_a_bad_image_is_told_and_the_rest_exported(export: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    run = export(DATA, tmp_path / "bad.jpg", "--out-indices", "4", "--json")
    assert run.returncode == 3
    document = json.loads(run.stdout)
    assert document["images"] == 2
    assert [failed["id"] for failed in document["failed"]] == [(tmp_path / "bad.jpg").as_posix()]
    messages: list[dict[str, Any]] = [json.loads(line) for line in run.stderr.splitlines()]
    assert "bad.jpg" in messages[0]["note"]
    assert messages[-1]["error"]["code"] == 3


def test_e8_other_weights_of_the_same_name_are_refused(
    export: Callable[..., Run], weights: Path, tmp_path: Path
) -> None:
    words = (DATA, "--out-indices", "4")
    assert export(*words).returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    other = tmp_path / "other" / weights.name
    other.parent.mkdir()
    safetensors.torch.save_file(zoo.create_model("resnet18", seed=1).state_dict(), other)
    run = export(*words, "--weights", other)
    assert (run.returncode, run.stdout) == (2, "")
    for path in (weights, other):
        digest = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
        assert digest in run.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two photographs among files that are none."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("chelsea.png", "coffee.png"):
        (folder / name).write_bytes((DATA / name).read_bytes())
    (folder / "a_cut_off.png").write_bytes((DATA / "coffee.png").read_bytes()[:5000])
    (folder / "b_empty.jpg").write_bytes(b"")
    (folder / "ce_page.jpg").write_text("<!DOCTYPE html><title>404 Not Found</title>")
    (folder / "d_text.tif").write_text("not an image")
    return folder


def test_e1_bad_files_among_good_ones(export: Callable[..., Run], mixed: Path, tmp_path: Path) -> None:
    run = export(mixed, "--out-indices", "4", "--images-per-shard", "3", "--json")
    assert run.returncode == 3
    document = json.loads(run.stdout)
    assert (document["images"], document["num_failed"], document["complete"]) == (2, 4, True)
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").open()]
    names = ["a_cut_off.png", "b_empty.jpg", "ce_page.jpg", "chelsea.png", "coffee.png", "d_text.tif"]
    assert [line["id"] for line in lines] == names
    assert [line["status"] for line in lines] == ["error"] * 3 + ["ok"] * 2 + ["error"]
    assert all(line["id"] in line["error"] for line in lines if line["status"] == "error")
    # The first shard has no image at all, the second one's rows are those of its images.
    places = [(line["shard"], line["row"]) for line in lines[3:5]]
    assert places == [("features-00001.safetensors", 0), ("features-00001.safetensors", 1)]
    stored = safetensors.numpy.load_file(tmp_path / "out" / "features-00001.safetensors")
    assert stored["index"].tolist() == [3, 4]
    export(DATA, "--out-indices", "4", "--output", tmp_path / "alone")
    alone = safetensors.numpy.load_file(tmp_path / "alone" / "features-00000.safetensors")
    np.testing.assert_allclose(stored["layer4"], alone["layer4"], atol=1e-5)

    again = export(mixed, "--out-indices", "4", "--images-per-shard", "3")
    assert (again.returncode, again.stdout.splitlines()[-1]) == (3, "unchanged")


def test_e1_on_error_stop(export: Callable[..., Run], mixed: Path, tmp_path: Path) -> None:
    run = export(mixed, "--out-indices", "4", "--on-error", "stop")
    assert (run.returncode, run.stdout) == (4, "")
    assert "a_cut_off.png" in run.stderr
    assert os.listdir(tmp_path / "out") == ["config.json"]


def test_retry_failed_reads_a_mended_image(export: Callable[..., Run], mixed: Path) -> None:
    words = (mixed, "--out-indices", "4", "--images-per-shard", "2", "--json")
    good = (DATA / "coffee.png").read_bytes()
    (mixed / "b_empty.jpg").write_bytes(bytes(len(good)))
    before = (mixed / "b_empty.jpg").stat()
    export(*words)
    (mixed / "b_empty.jpg").write_bytes(good)
    # Neither size nor time say that it was mended; where they do, it is read again without being asked for.
    os.utime(mixed / "b_empty.jpg", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert json.loads(export(*words).stdout)["num_failed"] == 4
    assert json.loads(export(*words, "--retry-failed").stdout)["num_failed"] == 3


def test_parts_fill_one_folder(export: Callable[..., Run], tmp_path: Path) -> None:
    words = (DATA, "--out-indices", "4", "--images-per-shard", "1")
    first = export(*words, "--shard", "1/2")
    assert first.returncode == 0
    assert "images: 1\n" in first.stdout
    assert "Other parts are not done yet" in first.stderr
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    assert export(*words, "--shard", "2/2").stderr == ""
    assert export(*words, "--shard", "3/3").returncode == 0  # more parts than shards: nothing to do
    assert export(*words, "--output", tmp_path / "whole").returncode == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}


def test_a_part_that_the_scheduler_tells(export: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    words = (DATA, "--out-indices", "4", "--images-per-shard", "1", "--shard", "auto")
    for name in ("SLURM_ARRAY_TASK_ID", "SLURM_STEP_NUM_TASKS", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert export(*words).returncode == 2
    monkeypatch.setenv("ZOO_JOB_COMPLETIONS", "2")
    for index, complete in (("1", False), ("0", True)):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
        document = json.loads(export(*words, "--json").stdout)
        assert (document["images"], document["complete"]) == (1, complete)


def test_pooled_features_as_a_table_are_the_averages_of_the_maps(export: Callable[..., Run], tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    assert export(DATA, "--out-indices", "2,4", "--pool", "avg", "--format", "parquet").returncode == 0
    assert export(DATA, "--out-indices", "2,4", "--output", tmp_path / "maps").returncode == 0
    table = pq.read_table(tmp_path / "out" / "features-00000.parquet")
    maps = safetensors.numpy.load_file(tmp_path / "maps" / "features-00000.safetensors")
    assert table["id"].to_pylist() == ["chelsea.png", "coffee.png"]
    for module in ("layer2", "layer4"):
        found = np.array(table[module].to_pylist(), np.float32)
        np.testing.assert_allclose(found, maps[module].mean((2, 3)), atol=1e-6)


def test_the_embedding_is_the_average_of_the_last_level_of_a_resnet(export: Callable[..., Run], tmp_path: Path) -> None:
    run = export(DATA, "--pool", "embedding", "--preview", tmp_path / "p.png")
    assert (run.returncode, run.stderr) == (0, "")
    assert "level: module=embedding channels=512" in run.stdout
    assert export(DATA, "--out-indices", "4", "--output", tmp_path / "maps").returncode == 0
    found = safetensors.numpy.load_file(tmp_path / "out" / "features-00000.safetensors")["embedding"]
    maps = safetensors.numpy.load_file(tmp_path / "maps" / "features-00000.safetensors")["layer4"]
    np.testing.assert_allclose(found, maps.mean((2, 3)), rtol=1e-5, atol=1e-6)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["pool"], config["out_indices"]) == ("embedding", [])
    assert export(DATA, "--pool", "embedding").stdout.endswith("unchanged\n")


def test_a_model_of_two_branches_exports_every_level_under_a_name_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, out = tmp_path / "crossvit.safetensors", tmp_path / "features"
    model = zoo.create_model("crossvit_tiny_240", seed=0).eval()
    safetensors.torch.save_file(model.state_dict(), weights)
    words = ["export-features", "crossvit_tiny_240", DATA, "--weights", weights, "-o", out]
    assert errors.run(app, [str(word) for word in words]) == 0, capsys.readouterr().err
    found = safetensors.numpy.load_file(out / "features-00000.safetensors")
    last = model.spec.num_blocks - 1
    assert set(found) == {"index", f"blocks.{last}.branch0", f"blocks.{last}.branch1"}
    for branch in (0, 1):
        assert found[f"blocks.{last}.branch{branch}"].shape == (
            2,
            model.spec.embed_dim[branch],
            *model.grid_sizes[branch],
        )


def test_a_preview_has_a_row_an_image_and_a_column_a_level(export: Callable[..., Run], tmp_path: Path) -> None:
    run = export(DATA, "--out-indices", "2,3,4", "--pool", "max", "--preview", tmp_path / "p.png")
    assert run.returncode == 0
    assert Image.open(tmp_path / "p.png").size == (4 * 224 + 3 * 4, 2 * 224 + 4)


def test_a_preview_of_images_of_several_sizes(export: Callable[..., Run], tmp_path: Path) -> None:
    folder = tmp_path / "sizes"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, shape in (("1.png", (64, 64)), ("2.png", (96, 64)), ("3.png", (64, 128))):
        Image.fromarray(random.integers(0, 256, (*shape, 3), np.uint8)).save(folder / name)
    words = (folder, "--out-indices", "3,4", "--no-resize", "--pool", "avg", "--preview", tmp_path / "p.png")
    run = export(*words)
    assert (run.returncode, run.stderr) == (0, "")
    picture = np.asarray(Image.open(tmp_path / "p.png"))
    assert picture.shape == (3 * 224 + 2 * 4, 3 * 224 + 2 * 4, 3)
    # The lowest row is twice as wide as it is high: below it is white, and the image is its own.
    assert (picture[2 * 228 + 112 :] == 255).all()
    wide = np.asarray(Image.open(folder / "3.png").resize((224, 112), Image.Resampling.NEAREST))
    np.testing.assert_allclose(picture[2 * 228 :][:112, :224], wide, atol=1)


@pytest.mark.parametrize("json_wanted", [True, False])
def test_progress_on_a_terminal_leaves_standard_output_alone(weights: Path, tmp_path: Path, json_wanted: bool) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes((DATA / "chelsea.png").read_bytes())
    words = ["export-features", "resnet18", folder, "--weights", weights, "--out-indices", "4"]
    words += ["--images-per-shard", "1", "-o", tmp_path / "out", *(["--json"] if json_wanted else [])]
    terminal, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-P", "-m", "zoo", *words]
    with started(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = read_terminal(terminal)
        assert process.stdout is not None
        told = process.stdout.read().decode()
    assert process.returncode == 0, shown
    if json_wanted:
        assert shown == b""
        assert json.loads(told)["shards"] == 3
    else:
        assert b"Exporting features" in shown
        assert told.splitlines()[1:4] == ["images: 3", "shards: 3", "failed: 0"]


def test_a_request_can_be_sent_to_another_process(weights: Path) -> None:
    request = ExportRequest(model="resnet18", inputs=Inputs((str(DATA),)), weights=str(weights), out_indices=(4,))
    sent = pickle.loads(pickle.dumps(request))
    assert sent.open().plan.fingerprint == request.open().plan.fingerprint


@pytest.mark.full
@pytest.mark.ray
def test_the_same_bytes_on_ray(
    export: Callable[..., Run], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    words = ("--out-indices", "4", "--images-per-shard", "1")
    assert export(DATA, *words, "--output", tmp_path / "plain").returncode == 0
    monkeypatch.chdir(tmp_path)  # Ray's workers would take the repository's folder zoo/ for the package
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    assert export(DATA, *words, "--engine", "ray").returncode == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "plain").iterdir()}


def test_no_readable_image_is_a_failure(export: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    run = export(tmp_path / "bad.jpg", "--json")
    assert (run.returncode, run.stdout) == (4, "")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--out-indices", "two"], 2, "numbers with commas"),
        (["--out-indices", "2,9"], 2, "0..4"),
        (["--batch-size", "0"], 2, "1 or more"),
        (["--shard", "0/2"], 2, "runs from 1"),
        (["--shard", "2"], 2, "2/8"),
        (["--engine", "spark"], 2, "local, ray"),
        (["--on-error", "ignore"], 2, "skip, stop"),
        (["--dtype", "int8"], 2, "float32, float16, bfloat16"),
        (["--format", "csv"], 2, "safetensors, npy, parquet, zarr"),
        (["--pool", "cls"], 2, "class token"),
        (["--pool", "embedding", "--out-indices", "2"], 2, "Leave out --out-indices"),
        (["--format", "parquet"], 2, "--pool avg"),
        (["--format", "npy", "--dtype", "bfloat16"], 2, "float32 or float16"),
        (["/nothing/here.jpg"], 5, "/nothing/here.jpg"),
        (["--weights", "/nothing/here.safetensors"], 5, "/nothing/here.safetensors"),
    ],
)
def test_wrong_requests_write_nothing(
    export: Callable[..., Run], tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    run = export(DATA, *words)
    assert (run.returncode, run.stdout) == (code, "")
    assert run.stderr.startswith("zoo: error: ")
    assert said in run.stderr
    assert not (tmp_path / "out").exists()


def test_e4_both_counts_are_given_where_the_bands_do_not_fit(export: Callable[..., Run], tmp_path: Path) -> None:
    run = export(DATA, "--in-chans", "25")
    assert (run.returncode, run.stdout) == (4, "")
    assert "zoo: error: No image could be read, of 2 given" in run.stderr
    assert "reads 25 channels, 3 bands are in the image" in run.stderr
    assert not list((tmp_path / "out").glob("features*"))


def test_another_export_in_the_folder_needs_force(export: Callable[..., Run]) -> None:
    assert export(DATA, "--out-indices", "4").returncode == 0
    run = export(DATA, "--out-indices", "3")
    assert run.returncode == 2
    assert "out_indices is [4] there and [3] here" in run.stderr
    assert "--force" in run.stderr
    assert export(DATA, "--out-indices", "3", "--force").returncode == 0
