"""`zoo export-features` over a real architecture with random weights and the two photographs of tests/data."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.adapt_file import adapt_file
from zoo.core.preprocess import Preprocess
from zoo.core.rasters.read import read_image

DATA = Path(__file__).parent / "data"


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
            expected = model(preprocess(read_image(DATA / name))[None])
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
    cfg = zoo.PretrainedCfg(architecture="resnet18", first_conv="conv1", classifier="fc", mean=(0.1, 0.2, 0.6))
    grey = tmp_path / "grey.safetensors"
    adapt_file(weights, grey, cfg, in_chans=1, num_classes=0)
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
        (["--in-chans", "25"], 4, "25 channels"),
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


def test_another_export_in_the_folder_needs_force(export: Callable[..., Run]) -> None:
    assert export(DATA, "--out-indices", "4").returncode == 0
    run = export(DATA, "--out-indices", "3")
    assert run.returncode == 6
    assert "--force" in run.stderr
    assert export(DATA, "--out-indices", "3", "--force").returncode == 0
