"""A URL in place of a weight file, in every command that reads one."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_hub import FakeHub
from machine import MachineHere, published_bytes

BODY = published_bytes()
DIGEST = hashlib.sha256(BODY).hexdigest()
PHOTO = Path(__file__).parents[1] / "data" / "coffee.png"

RUNS = {
    "inspect": ("inspect", "{url}"),
    "identify": ("identify", "{url}"),
    "check": ("check", "test_resnet", "{url}"),
    "diff": ("diff", "net.safetensors", "{url}"),
    "convert": ("convert", "{url}", "-o", "out.npz"),
    "create": ("create", "test_resnet", "--weights", "{url}"),
    "adapt-weights": ("adapt-weights", "{url}", "--in-chans", "5", "-o", "out.safetensors"),
    "adapt-weights --weights": (
        "adapt-weights", "test_resnet", "--weights", "{url}", "--in-chans", "5", "-o", "out.safetensors",
    ),
    "export-features": ("export-features", "test_resnet", "photo.png", "--weights", "{url}", "-o", "out"),
}  # fmt: skip


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(plain={"/a/net.safetensors": BODY}) as server:
        yield server


@pytest.fixture
def machine(
    tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> MachineHere:
    here = MachineHere(tmp_path / "machine", hub, monkeypatch, capsys)
    Path("net.safetensors").write_bytes(BODY)
    shutil.copy(PHOTO, "photo.png")
    return here


def outputs() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().glob("out*") if path.is_file()}


@pytest.mark.parametrize("command", RUNS)
def test_a_url_is_as_good_as_the_file(machine: MachineHere, hub: FakeHub, command: str):
    url = f"{hub.url}/a/net.safetensors#sha256={DIGEST}"
    local = machine.zoo(*(word.format(url="net.safetensors") for word in RUNS[command]), "--json", "--quiet")
    assert local.code == 0, local.stderr
    expected = outputs()
    for path in Path().glob("out*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run = machine.zoo(*(word.format(url=url) for word in RUNS[command]), "--json", "--quiet")
    assert (run.code, run.stderr) == (0, "")
    assert outputs() == expected
    assert [method for method, _ in hub.requests] == ["GET"]
    # What is printed differs in the place of the file alone.
    cached = str(machine.checkpoints / f"net-{DIGEST[:16]}.safetensors")
    assert json.dumps(cached)[1:-1] in run.stdout or run.stdout == local.stdout


@pytest.mark.parametrize("command", RUNS)
def test_a_url_without_a_checksum_is_refused(machine: MachineHere, hub: FakeHub, command: str):
    run = machine.zoo(*(word.format(url=f"{hub.url}/a/net.safetensors") for word in RUNS[command]))
    assert (run.code, run.stdout) == (2, "")
    assert f"Nothing says what {hub.url}/a/net.safetensors should hold" in run.stderr
    assert hub.requests == []
    assert outputs() == {}


@pytest.mark.parametrize("command", RUNS)
def test_a_url_that_gives_something_else_is_refused(machine: MachineHere, hub: FakeHub, command: str):
    url = f"{hub.url}/a/net.safetensors#sha256={'0' * 64}"
    run = machine.zoo(*(word.format(url=url) for word in RUNS[command]))
    assert (run.code, run.stdout) == (4, "")
    assert "should have a sha256 that begins with 0000000000000000" in run.stderr
    assert outputs() == {}


def test_other_words_with_a_colon_are_no_urls(machine: MachineHere, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(BODY)
    (folder / "config.json").write_text('{"architecture": "test_resnet", "num_classes": 1000}')
    for source in (f"local-dir:{folder}", f"local-dir:/{folder}"):
        run = machine.zoo("adapt-weights", source, "--in-chans", 5, "--force", "-o", "out.safetensors")
        assert run.code == 0, run.stderr
    Path("data:").mkdir()
    Path("data:/net.safetensors").write_bytes(BODY)
    assert machine.zoo("identify", "data:/net.safetensors").code == 0
    assert "leads out" in machine.zoo("inspect", "hf-hub:/etc/passwd").stderr


@pytest.mark.parametrize("url", ["http://example.org/net.pth", "s3://bucket/net.pth", "file:///tmp/net.pth"])
def test_other_schemes_are_named(machine: MachineHere, url: str):
    run = machine.zoo("identify", url)
    assert (run.code, run.stdout) == (4, "")
    assert f"found a URL with {url.partition(':')[0]}." in run.stderr
