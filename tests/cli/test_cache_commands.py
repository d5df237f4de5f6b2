"""`zoo cache`, `zoo fetch` and what they tell."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.cli import errors
from zoo.cli.app import app
from zoo.weights_cache import time_limit
from zoo.weights_cache.time_limit import TimeUp, default_timeout

from fake_hub import COMMIT
from machine import MODEL, REPO, Machine, hub_of

BODY = b"weights " * 100
DIGEST = hashlib.sha256(BODY).hexdigest()
OLD_COMMIT = "0" * 40
URL_FILE = f"net-{DIGEST[:8]}.pth"

Zoo = Callable[..., tuple[int, str, str]]


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    """Runs a command line in this process, with caches below tmp_path."""
    machine = Machine(tmp_path)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_HOME", "TORCH_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, machine.env[name])

    def run(*words: str) -> tuple[int, str, str]:
        code = errors.run(app, words)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One repository with two revisions of one blob, and a checkpoint, laid out by hand."""
    machine = Machine(tmp_path)
    repository = machine.repository()
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / DIGEST).write_bytes(BODY)
    config = b"{}"
    git = hashlib.sha1(b"blob 2\0{}").hexdigest()
    (repository / "blobs" / git).write_bytes(config)
    for commit in (COMMIT, OLD_COMMIT):
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "snapshots" / commit / "model.safetensors").symlink_to(f"../../blobs/{DIGEST}")
    (repository / "snapshots" / COMMIT / "config.json").symlink_to(f"../../blobs/{git}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    machine.checkpoints.mkdir(parents=True)
    (machine.checkpoints / URL_FILE).write_bytes(BODY)
    (machine.checkpoints / "plain.pth").write_bytes(b"plain")
    return machine


def add_leftovers(machine: Machine) -> list[Path]:
    """What a killed process, a damaged download and a removed revision leave."""
    repository = machine.repository()
    paths = [
        repository / "blobs" / f"{DIGEST}.0a1b2c3d.incomplete",
        repository / "blobs" / f"{DIGEST}.damaged",
        repository / "blobs" / ("2" * 64),
        repository / "snapshots" / COMMIT / "gone.bin",
        machine.checkpoints / f".zoo-{'0' * 16}.tmp",
        machine.checkpoints / f"{URL_FILE}.0123abcd.partial",
    ]
    for path in paths:
        if path.name == "gone.bin":
            path.symlink_to("../../blobs/" + "3" * 64)
        else:
            path.write_bytes(b"1234567")
    return paths


# ---------------------------------------------------------------- list and path


def test_list_tells_every_file(zoo: Zoo, machine: Machine):
    code, out, _ = zoo("cache", "list", "--json")
    document = json.loads(out)
    files = {(file["name"], file["revision"], file["file"]): file for file in document["files"]}
    assert code == 0
    assert set(files) == {
        (REPO, COMMIT, "config.json"),
        (REPO, COMMIT, "model.safetensors"),
        (REPO, OLD_COMMIT, "model.safetensors"),
        (URL_FILE, "", ""),
        ("plain.pth", "", ""),
    }
    assert document["size"] == 2 * len(BODY) + 2 + 5  # a blob that two revisions share counts once
    weights = files[REPO, COMMIT, "model.safetensors"]
    assert (weights["kind"], weights["size"], weights["digest"]) == ("weights", len(BODY), DIGEST)


def test_list_agrees_with_the_library_of_the_hub(zoo: Zoo, machine: Machine):
    from huggingface_hub import scan_cache_dir

    peer = scan_cache_dir(machine.hub_cache)
    listed = json.loads(zoo("cache", "list", "--json")[1])["files"]
    ours = {(f["name"], f["revision"], f["file"], f["size"]) for f in listed if f["cache"] == "hub"}
    assert ours == {
        (repo.repo_id, revision.commit_hash, file.file_name, file.size_on_disk)
        for repo in peer.repos
        for revision in repo.revisions
        for file in revision.files
    }


def test_list_in_a_pipe_is_one_line_a_file(zoo: Zoo, machine: Machine):
    os.utime(machine.checkpoints / "plain.pth", (86400, 86400))
    assert f"weights 5 1970-01-02 plain.pth {machine.checkpoints}/plain.pth" in zoo("cache", "list")[1].splitlines()


def test_nothing_is_cached(zoo: Zoo):
    assert zoo("cache", "list") == (0, "", "")
    assert zoo("cache", "prune")[0] == 0
    code, out, err = zoo("cache", "remove", REPO)
    assert (code, out) == (5, "")
    assert "zoo cache list" in err


def test_path(zoo: Zoo, machine: Machine):
    assert zoo("cache", "path", MODEL)[1] == f"{machine.repository()}/snapshots/{COMMIT}/model.safetensors\n"
    code, out, _ = zoo("cache", "path", "--json")
    assert code == 0
    roots = {"hub": str(machine.hub_cache), "torch": str(machine.checkpoints), "zoo": str(machine.folder / "state/zoo")}
    assert json.loads(out)["roots"] == roots
    code, out, err = zoo("cache", "path", "resnet34.a1_in1k")
    assert (code, out) == (5, "")
    assert "zoo fetch resnet34.a1_in1k" in err


# ---------------------------------------------------------------- verify


def test_verify_tells_sound_damaged_and_unknown(zoo: Zoo, machine: Machine):
    code, out, _ = zoo("cache", "verify")
    assert code == 0
    states = dict(reversed(line.split(" ", 1)) for line in out.splitlines())
    assert states.pop(f"{machine.checkpoints}/plain.pth") == "unknown"
    assert len(states) == 4
    assert set(states.values()) == {"ok"}

    (machine.repository() / "blobs" / DIGEST).write_bytes(BODY[:-1])
    code, out, err = zoo("cache", "verify", MODEL)
    assert code == 4
    assert out.count("damaged ") == 2
    assert f"zoo cache remove {REPO}" in err
    assert zoo("cache", "verify", URL_FILE)[0] == 0


def test_verify_reads_again_what_looks_unchanged(zoo: Zoo, machine: Machine):
    path = machine.checkpoints / URL_FILE
    assert zoo("cache", "verify")[0] == 0
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"X")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert zoo("cache", "verify")[0] == 4


def test_verify_checks_what_git_hashes(zoo: Zoo, machine: Machine):
    (machine.repository() / "snapshots" / COMMIT / "config.json").resolve().write_bytes(b"[]")
    code, out, _ = zoo("cache", "verify", REPO)
    assert code == 4
    assert [line.rpartition("/")[2] for line in out.splitlines() if line.startswith("damaged")] == ["config.json"]


# ---------------------------------------------------------------- prune and remove


def test_prune_removes_leftovers_and_nothing_else(zoo: Zoo, machine: Machine):
    before = machine.files()
    left = add_leftovers(machine)
    code, out, _ = zoo("cache", "prune", "--dry-run", "--json")
    planned = json.loads(out)
    assert (code, {file["path"] for file in planned["files"]}) == (0, set(map(str, left)))
    assert all(os.path.lexists(path) for path in left)
    code, out, _ = zoo("cache", "prune", "--json")
    # Five files of seven bytes; a link that leads nowhere frees what its own name takes.
    assert json.loads(out)["freed"] - 5 * 7 == len("../../blobs/") + 64
    assert (code, machine.files()) == (0, before)


def test_prune_knows_a_blob_by_any_link_to_it(zoo: Zoo, machine: Machine, monkeypatch: pytest.MonkeyPatch):
    for link in machine.repository().rglob("model.safetensors"):
        target = link.resolve()
        link.unlink()
        link.symlink_to(target)
    by_another_name = machine.folder / "disk"
    by_another_name.symlink_to(machine.hf_home)
    monkeypatch.setenv("HF_HOME", str(by_another_name))
    before = machine.files()
    assert zoo("cache", "prune")[0] == 0
    assert machine.files() == before
    assert zoo("cache", "verify")[1].count("ok ") == 4


@pytest.mark.parametrize("name", [MODEL, REPO])
def test_remove_takes_a_repository_whole(zoo: Zoo, machine: Machine, name: str):
    assert zoo("cache", "remove", name, "--dry-run")[0] == 0
    assert machine.repository().exists()
    code, out, _ = zoo("cache", "remove", name)
    assert code == 0
    assert "model.safetensors" in out
    assert not machine.repository().exists()
    assert (machine.checkpoints / URL_FILE).exists()


def test_remove_a_checkpoint(zoo: Zoo, machine: Machine):
    assert zoo("cache", "remove", URL_FILE)[0] == 0
    assert sorted(path.name for path in machine.checkpoints.iterdir()) == ["plain.pth"]
    assert machine.repository().exists()


def test_remove_does_not_take_the_memory_of_checks(zoo: Zoo, machine: Machine):
    assert zoo("cache", "verify")[0] == 0
    assert zoo("cache", "remove", "verified.json")[0] == 5
    assert (machine.folder / "state/zoo/verified.json").exists()


# ---------------------------------------------------------------- fetch


def test_fetch_prints_paths_and_tells_what_it_fetched(tmp_path: Path):
    with hub_of(BODY) as hub:
        machine = Machine(tmp_path / "machine", hub)
        cold = machine.zoo("fetch", MODEL)
        path = machine.repository() / "snapshots" / COMMIT / "model.safetensors"
        assert (cold.code, cold.stdout) == (0, f"{path}\n")
        assert cold.stderr == f"zoo: note: {MODEL}: 800B fetched from the Hub repository {REPO}.\n"
        warm = machine.zoo("fetch", MODEL, "--json", "--verify")
        assert json.loads(warm.stdout)["weights"] == [
            {"name": MODEL, "path": str(path), "source": f"hf-hub:{REPO}", "size": len(BODY), "sha256": DIGEST,
             "fetched": False}
        ]  # fmt: skip


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_timeout_is_a_time(zoo: Zoo, monkeypatch: pytest.MonkeyPatch, seconds: str):
    monkeypatch.setenv("ZOO_TIMEOUT", "1")  # restored after the option has changed it
    code, out, err = zoo("fetch", MODEL, "--timeout", seconds)
    assert (code, out) == (2, "")
    assert "above 0" in err


def test_nothing_to_fetch(zoo: Zoo):
    assert zoo("fetch")[0] == 2
    assert zoo("fetch", "no_such_model")[0] == 5


def test_the_timeout_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZOO_TIMEOUT", "2.5")
    assert default_timeout() == 2.5
    monkeypatch.delenv("ZOO_TIMEOUT")
    assert default_timeout() is None


def test_a_download_that_does_not_grow_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time_limit, "STALL_SECONDS", 0.05)
    monkeypatch.setattr(time_limit, "_TICK", 0.01)
    (tmp_path / "x.incomplete").write_bytes(b"12345")
    read, write = os.pipe()
    with pytest.raises(TimeUp, match="nothing has arrived"), time_limit.time_limit(None, tmp_path):
        os.read(read, 1)  # which nothing else would end
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("words", [["cache", "list"], ["cache", "verify"], ["cache", "prune"], ["cache", "path", MODEL],
                                   ["lock", MODEL, "-o", "zoo.lock"], ["fetch", MODEL]])  # fmt: skip
def test_nothing_heavy_is_imported_where_nothing_is_fetched(machine: Machine, words: list[str]):
    code = (
        "import sys\nfrom zoo.cli import errors; from zoo.cli.app import app\n"
        f"assert errors.run(app, {words!r}) == 0\n"
        "assert not {'torch', 'numpy', 'huggingface_hub', 'rich'} & set(sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=machine.env,
        cwd=machine.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
