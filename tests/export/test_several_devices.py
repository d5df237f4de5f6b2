"""`zoo export-features --device` with several devices. The processor stands for each of them."""

from __future__ import annotations

import gc
import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import UsageError
from zoo.core.export import device_processes
from zoo.core.export.decode_pool import decode_ahead
from zoo.core.export.device_processes import run_on_devices
from zoo.core.export.devices import find_devices
from zoo.core.export.engine import FeatureEngine
from zoo.core.export.request import ExportRequest, Inputs


class Run(NamedTuple):
    returncode: int
    out: str
    err: str


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    safetensors.torch.save_file(zoo.create_model("resnet10t", seed=0).state_dict(), path)
    return path


@pytest.fixture
def export(weights: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Run]:
    """Run `zoo export-features resnet10t` over five images, one of them unreadable, in shards of two."""
    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(noise.integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "images" / "cut.png").write_bytes(b"")
    fixed = ["export-features", "resnet10t", "--weights", weights, "--images-per-shard", 2, "--pool", "avg"]

    def run(*words: object) -> Run:
        return Run(errors.run(app, [str(word) for word in [*fixed, *words]]), *capsys.readouterr())

    return run


def pretend(monkeypatch: pytest.MonkeyPatch, *devices: str) -> None:
    """Let `--device cuda:all` stand for these devices."""
    monkeypatch.setattr("zoo.cli.commands.export_features.find_devices", lambda text: devices)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def engines() -> set[int]:
    """The engines in this process, each of which has a model."""
    gc.collect()
    return {id(thing) for thing in gc.get_objects() if type(thing) is FeatureEngine}


def test_the_command_with_several_devices_writes_the_same_folder(
    export: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    alone = export(images, "-o", tmp_path / "one", "--json")
    assert alone.returncode == 3
    pretend(monkeypatch, "cpu", "cpu")
    before, models = engines(), []

    def watched(*arguments: Any, **options: Any) -> None:
        models.append(engines() - before)
        run_on_devices(*arguments, **options)

    monkeypatch.setattr(device_processes, "run_on_devices", watched)
    options = ("--device", "cuda:all", "-o", tmp_path / "two", "--workers", 1)
    part = export(images, *options, "--shard", "2/2", "--preview", tmp_path / "p.png", "--json")
    assert part.returncode == 0, part.err
    assert json.loads(part.out)["shards"] == 1
    assert (tmp_path / "p.png").exists()
    whole = export(images, *options, "--json")
    assert whole.returncode == 3
    assert json.loads(whole.out) == json.loads(alone.out) | {"out": str(tmp_path / "two")}
    assert content(tmp_path / "two") == content(tmp_path / "one")
    assert models == [set(), set()]  # they are in the processes alone


def test_one_gpu_of_all_computes_in_this_process(
    export: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, "cpu")
    monkeypatch.setattr(device_processes, "run_on_devices", None)
    done = export(tmp_path / "images" / "0.png", "--device", "cuda:all", "-o", tmp_path / "out")
    assert done.returncode == 0, done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "cuda:all"], "The device 'cuda' was asked for, but PyTorch .* finds 0 of its kind"),
        (["--device", "cuda:0,cuda:1"], "The device 'cuda:0' was asked for, but PyTorch .* finds 0 of its kind"),
        (["--device", "cpu,cpu"], "and cpu stands 2 times in 'cpu,cpu'.*Name it once"),
        (["--device", "cuda:all", "--engine", "ray"], "--device names several: 'cuda:all'.*Leave out --engine"),
        (["--device", "cuda:all", "-"], "Every process of an export on several devices reads the list"),
        (["--device", "cuda:0,cuda:1", "--from-file", "{pipe}"], "reads the list of inputs.*--from-file LIST"),
    ],
)
def test_requests_that_make_no_sense(
    export: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: Sequence[str], said: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    words = [word.format(pipe=tmp_path / "pipe") for word in words]
    refused = export(tmp_path / "images", *words, "-o", tmp_path / "out")
    assert refused.returncode == 2
    assert re.search(said, " ".join(refused.err.split())), refused.err
    assert not (tmp_path / "out").exists()


def test_a_runtime_of_the_cpu_refuses_gpus(
    export: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, "cuda:0", "cuda:1")
    words = ["--device", "cuda:all", "--runtime", "onnxruntime", "-o", tmp_path / "out"]
    refused = export(tmp_path / "images", *words)
    assert refused.returncode == 2
    assert "onnxruntime computes on the CPU, and the device 'cuda:0' was asked for" in refused.err


def test_labels_are_compared_on_one_device(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert errors.run(app, ["evaluate", "resnet10t", str(tmp_path), "--device", "cuda:all"]) == 2
    assert "on one device, and --device names several: 'cuda:all'" in capsys.readouterr().err


def test_devices_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert find_devices("cuda:all") == ("cuda:0", "cuda:1", "cuda:2")
    assert find_devices("cuda:2, cuda") == ("cuda:2", "cuda:0")
    assert find_devices("cpu") == ("cpu",)
    for text, said in (
        ("cuda,cuda:0", "cuda:0 stands 2 times"),
        ("cuda:1,cuda:3", "The device 'cuda:3' was asked for"),
        ("cuda:0,tpu", "A device is one of"),
        ("cuda:0,", "A device is one of"),
        ("cuda:all,cuda:0", "A device is one of"),
        ("cpu,cuda:0", "of one kind, found cpu and cuda"),
    ):
        with pytest.raises(UsageError, match=said):
            find_devices(text)


def test_a_process_computes_and_decodes_in_its_share_of_the_threads() -> None:
    decoding: set[str] = set()

    def decode(item: int) -> int:
        decoding.add(threading.current_thread().name)
        return item

    assert list(decode_ahead(range(100), decode, threads=1)) == list(range(100))
    assert len(decoding) == 1
    request = ExportRequest(model="resnet10t", inputs=Inputs(()))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        for threads, expected in ((9, (8, 4)), (6, (6, 4)), (2, (2, 2))):
            computing = request.for_this_process("cpu", threads).computing
            assert (torch.get_num_threads(), computing.threads) == expected
    finally:
        torch.set_num_threads(before)


def test_the_gpu_of_a_process_is_its_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch asks the current one what it can compute in, and places there what names no other."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    request = ExportRequest(model="resnet10t", inputs=Inputs(()))
    assert request.for_this_process("cuda:1", 1).computing.device == "cuda:1"
    assert current == [torch.device("cuda:1")]
    with pytest.raises(UsageError, match="The device 'cuda:2' was asked for"):
        request.for_this_process("cuda:2", 1)
