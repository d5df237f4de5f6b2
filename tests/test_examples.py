"""Every example of the help and of the pages of docs/ runs and does what it says, against a Hub on the loopback."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors import safe_open

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import UnknownModelError, ZooError

from documentation import Example, help_examples, page_examples
from example_inputs import INPUTS, checkpoint_bytes, published_bytes
from fake_hub import FakeHub, HubFile

EXAMPLES = [*help_examples(), *page_examples()]

ENDS_WITH = {
    "zoo diff resnet34.safetensors r34_25ch.safetensors": 4,  # they differ, as the help says
    "zoo inspect dino.pth": 4,  # it holds two networks, which the page shows
}
"""Exit codes other than 0."""

MADE_BY_ZOO = {
    "zoo.lock": "zoo lock -o zoo.lock resnet34.a1_in1k convnext_tiny.in12k",
    "weights.tar": "zoo bundle -o weights.tar resnet34.a1_in1k",
}
"""Inputs that a command makes."""

# bash says which words a line gives to zoo, and what to read from standard input; zoo then runs in this process.
_RECORD = 'zoo() { printf "%s\\0" "$@" > .words; cat > .stdin; }\n'


class Weights(dict[str, HubFile]):
    """Files of a Hub that are made when they are asked for; until then they are empty."""

    def get(self, key: str, default: Any = None) -> Any:
        file = super().get(key, default)
        if file is not None and not file.body:
            architecture = key.partition("/")[2].partition(".")[0]
            self[key] = file = HubFile(published_bytes(architecture), ranges=True)
        return file


class Place(NamedTuple):
    """Where examples run: a Hub, and a folder with the inputs made so far."""

    hub: FakeHub
    inputs: Path
    folder: Path


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A machine that knows no network but a fake Hub. In memory, where there is room: examples wait for the disk."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    with (
        tempfile.TemporaryDirectory(dir=memory if roomy else None) as root,
        FakeHub(files=Weights()) as hub,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "ZOO_TIMEOUT"):
            patch.setenv(name, "")
        for name in ("HF_HOME", "TORCH_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, os.path.join(root, name))
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("NO_PROXY", "127.0.0.1")
        # The library reads these once, at import, so that the surroundings of the test run would reach in.
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        patch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", os.path.join(root, "no-token"))
        for name in ("inputs", "folder"):
            os.mkdir(os.path.join(root, name))
        yield Place(hub, Path(root, "inputs"), Path(root, "folder"))


def to_run() -> list[Any]:
    """Shell examples as parameters."""
    found = [example for example in EXAMPLES if example.language == "sh" and not example.not_run]
    return [pytest.param(example, id=example.name) for example in found]


@pytest.mark.parametrize("example", to_run())
def test_an_example_runs(
    example: Example, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = Path(tempfile.mkdtemp(dir=place.folder))
    monkeypatch.chdir(folder)
    for line in example.lines:
        prepare(line, place, folder)
        run(on_loopback(line, place.hub), line, folder, monkeypatch, capsys)
    shutil.rmtree(folder)


def prepare(line: str, place: Place, folder: Path) -> None:
    """Make what a line begins with and the lines before it have not made."""
    for name in names_of_weights(line):
        cfg = zoo.get_pretrained_cfg(name)
        file = f"{cfg.hf_hub_id}/{cfg.hf_hub_filename or 'model.safetensors'}"
        if cfg.hf_hub_id and file not in place.hub.files:
            place.hub.files[file] = HubFile(b"")
            config = {"architecture": cfg.architecture, "num_classes": cfg.num_classes, "pretrained_cfg": {}}
            place.hub.files[f"{cfg.hf_hub_id}/config.json"] = HubFile(json.dumps(config).encode())
        if line.startswith("zoo cache"):
            assert errors.run(app, ["fetch", name]) == 0
    for name in [*INPUTS, *MADE_BY_ZOO]:
        outputs = re.findall(r"(?:-o|--output) +(\S+)", line)
        if not re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w.-])", line) or name in outputs or Path(name).exists():
            continue
        architecture = next((zoo.get_pretrained_cfg(word).architecture for word in names_of_weights(line)), "resnet34")
        ready = place.inputs / architecture / name
        ready.parent.mkdir(exist_ok=True)
        if not ready.exists() and name in INPUTS:
            INPUTS[name](ready, architecture)
        elif not ready.exists():
            prepare(MADE_BY_ZOO[name], place, folder)
            assert errors.run(app, MADE_BY_ZOO[name].split()[1:]) == 0
            shutil.move(name, ready)
        if ready.is_dir():
            shutil.copytree(ready, folder / name, copy_function=os.link)
        else:
            os.link(ready, folder / name)  # zoo puts another file in its place, and never writes into it


def names_of_weights(line: str) -> list[str]:
    """The words of a line that are names of published weights, in order; those in wildcards are none."""
    found = []
    for word in re.findall(r"(?<![\w'./-])(?:hf-hub:timm/|timm/)?([\w]+(?:\.\w+)?)(?![\w./*?-])", line):
        try:
            cfg = zoo.get_pretrained_cfg(word)
        except (UnknownModelError, ZooError):
            continue
        found += [word] if cfg is not None and cfg.has_weights else []
    return found


def on_loopback(line: str, hub: FakeHub) -> str:
    """The line with a server of this machine in place of the one that a checkpoint's URL names.

    The checkpoint is a stand-in, so its sha256, in its name or behind `#sha256=`, is another too.
    """

    def instead(url: re.Match[str]) -> str:
        body = checkpoint_bytes(url["name"] if zoo.is_model(url["name"]) else "mobilenetv3_small_050")
        digest = hashlib.sha256(body).hexdigest()
        path = f"/{url['name']}-{digest[:8]}.pth" if url["beginning"] else f"/{url['name']}.pth"
        hub.plain[path] = body
        return hub.url + path + (f"#sha256={digest}" if url["whole"] else "")

    pattern = r"https://[\w./-]+/(?P<name>\w+)(?P<beginning>-[0-9a-f]{8})?\.pth(?P<whole>#sha256=(<[^>]+>|\w+))?"
    return re.sub(pattern, instead, line)


def run(
    typed: str, line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run a line of shell as it is typed, with zoo in this process; its output exists and is what it should be."""
    shell = subprocess.run(
        ["bash", "-c", _RECORD + typed], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert shell.returncode == 0, shell.stderr
    recorded = folder / ".words"
    if not recorded.exists():
        return
    words = recorded.read_text().split("\0")[:-1]
    recorded.unlink()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((folder / ".stdin").read_bytes())))
    capsys.readouterr()
    code = errors.run(app, words)
    out, err = capsys.readouterr()
    assert code == ENDS_WITH.get(line, 0), f"{line}\nended with {code}\n{err}"
    if "--json" in words:
        json.loads(out)
    for option, value in pairwise(words):
        if option in ("-o", "--output"):
            assert Path(value).exists() is ("--dry-run" not in words), value
            assert "--dry-run" in words or holds_something(Path(value)), value


def holds_something(path: Path) -> bool:
    """Whether an output is read by the library of its format, and is not empty."""
    if path.is_dir():
        return any(file.stat().st_size for file in path.iterdir())
    if path.suffix == ".safetensors":
        with safe_open(path, "np") as file:
            return bool(file.keys())
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return bool(arrays.files)
    if path.suffix == ".tar":
        with tarfile.open(path) as archive:
            return bool(archive.getnames())
    return bool(json.loads(path.read_text()) if path.suffix in (".json", ".lock") else path.stat().st_size)


def test_every_program_of_the_pages_runs(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tempfile.mkdtemp(dir=place.folder))
    programs = [example for example in EXAMPLES if example.language == "python"]
    assert [e.place for e in programs if e.place.startswith("README.md")], "test_readme runs it after the session"
    for example in programs:
        if not (example.not_run or example.place.startswith("README.md")):
            exec(compile(example.lines[0], example.place, "exec"), {})


# ---------------------------------------------------------------- that none is missed


def test_what_is_not_run_says_why():
    reasons = {
        example.lines[0].split("\n")[0].split("  ")[0]: example.not_run for example in EXAMPLES if example.not_run
    }
    assert reasons == {
        "class VggSpec(Spec):": "a sketch",
        "make index FAMILIES=vgg": "takes minutes, and timm",
        "make demo": "what runs this test",
        "pip install torch --index-url https://download.pytorch.org/whl/cpu": "installs from the network",
        "python bench/methods.py tests/data --crops 24 --out study": "takes minutes",
        "uv venv": "installs from the network",
        "docker build -t zoo .": "needs a Docker daemon",
        "import segmentation_models_pytorch as smp": "needs segmentation_models_pytorch and timm",
        "from safetensors.torch import load_file": "needs torchgeo",
        "import zoo": "needs detectron2",
        "import lightning": "needs lightning",
        "from torch import nn": "takes 2.7 GB that the Hub gives to those who asked for access",
    }


def test_no_exception_outlives_its_example():
    assert ENDS_WITH.keys() <= {line for example in EXAMPLES for line in example.lines}


def test_a_url_is_served_here_with_its_checksum(place: Place):
    line = on_loopback("zoo x https://host.org/models/resnet18-f37072fd.pth --json", place.hub)
    assert (found := re.fullmatch(rf"zoo x {place.hub.url}(/resnet18-([0-9a-f]{{8}})\.pth) --json", line))
    assert hashlib.sha256(place.hub.plain[found[1]]).hexdigest().startswith(found[2])
    line = on_loopback("zoo x 'https://host.org/net.pth#sha256=<64 hex digits>'", place.hub)
    assert line == f"zoo x '{place.hub.url}/net.pth#sha256={hashlib.sha256(place.hub.plain['/net.pth']).hexdigest()}'"


def test_examples_are_found_in_every_form(tmp_path: Path):
    from documentation import blocks_of, joined

    page = tmp_path / "page.md"
    page.write_text(
        "Text\n\n    zoo list \\\n        --json\n    zoo info a\n\n    {not: shell}\n\n"
        "```console\n$ zoo x\nprinted\n```\n"
        "<!-- not run: why -->\n\n```python\nimport zoo\n```\n\n```json\n{}\n```\n\n```text\nzoo y\n```\n"
    )
    found = [(example.language, example.lines, example.not_run) for example in blocks_of(page)]
    assert found == [
        ("sh", ("zoo list --json", "zoo info a"), ""),
        ("sh", ("zoo x",), ""),
        ("python", ("import zoo",), "why"),
    ]
    assert joined(["  a \\", "    b", "  c"]) == ["a b", "c"]
    assert len(help_examples()) > 40
    assert {e.place.partition(":")[0] for e in page_examples()} > {
        "README.md",
        "features.md",
        "layouts.md",
        "weights.md",
    }
