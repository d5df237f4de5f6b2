"""What can go wrong between the Hub and the cache: the server, the disk, other processes, and rubbish."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zoo.weights_cache.hub_layout import quarantine

from fake_hub import COMMIT, FakeHub, HubFile
from faults.injection import Outcome, assert_told, can_mount, without_root
from machine import FILE, MODEL, REPO, MachineHere, hub_of

BODY = b"weights " * 4096
DIGEST = hashlib.sha256(BODY).hexdigest()
LIBRARY_MIB = 256
"""What the Hub's client brings with it."""

BROKEN_LOCK = "import fcntl; fcntl.flock = lambda *_: None"
NO_LOCK = """
import errno, fcntl
def flock(*_):
    raise OSError(errno.ENOSYS, "no locks")
fcntl.flock = flock
"""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with hub_of(BODY) as server:
        yield server


@pytest.fixture
def machine(
    tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> MachineHere:
    return MachineHere(tmp_path / "machine", hub, monkeypatch, capsys)


def fetched(machine: MachineHere, *words: object, **options: Any) -> Path:
    """The path that a fetch prints, checked from the outside."""
    run = machine.zoo("fetch", MODEL, *words, **options)
    assert run.code == 0, run.stderr
    path = Path(run.stdout.rstrip("\n"))
    assert path.read_bytes() == BODY
    return path


def refused(run: Outcome, code: int, *words: str) -> None:
    """As `assert_told`, where the Hub's client may have warned of something before."""
    told = [line for line in run.stderr.splitlines(keepends=True) if not line.startswith("zoo: note: ")]
    assert_told(run._replace(stderr="".join(told)), code, *words, peak_mib=LIBRARY_MIB)


def assert_nothing_cached(machine: MachineHere) -> None:
    """Neither a blob under its name nor a part of one, and no snapshot that leads to something."""
    assert [name for name in machine.blobs() if not name.endswith(".damaged")] == []
    assert not [path for path in machine.repository().rglob("model.safetensors") if path.exists()]


# ---------------------------------------------------------------- the server


def test_d1_a_bit_flipped_once_is_fetched_again(machine: MachineHere, hub: FakeHub):
    hub.files[FILE].sent, hub.files[FILE].times = b"W" + BODY[1:], 1
    fetched(machine)
    assert hub.downloads == 2
    assert machine.blobs() == [DIGEST, f"{DIGEST}.damaged"]


def test_d1_a_bit_flipped_every_time_is_refused(machine: MachineHere, hub: FakeHub):
    hub.files[FILE].sent = b"W" + BODY[1:]
    refused(machine.zoo("fetch", MODEL), 4, "arrived damaged 2 times", "sha256")
    assert hub.downloads == 2
    assert_nothing_cached(machine)
    hub.files[FILE].sent = None
    fetched(machine)


def test_d1_a_bit_flipped_is_found_on_a_disk_without_links(machine: MachineHere, hub: FakeHub):
    hub.files[FILE].sent, hub.files[FILE].times = b"W" + BODY[1:], 1
    path = fetched(machine, env={"HF_HUB_DISABLE_SYMLINKS": "1"}, timeout=60)
    assert not path.is_symlink()
    assert hub.downloads == 2
    assert f"damaged {len(BODY)} " in machine.zoo("cache", "list").stdout


def test_d2_a_body_that_breaks_off_leaves_nothing(machine: MachineHere, hub: FakeHub):
    hub.files[FILE].cut = 1000
    refused(machine.zoo("fetch", MODEL, "--timeout", 1.5), 5, "in time")
    assert_nothing_cached(machine)


def test_d2_a_range_answered_with_the_whole_file(machine: MachineHere, hub: FakeHub):
    hub.files[FILE].cut, hub.files[FILE].times = 1000, 1
    fetched(machine)
    assert hub.downloads == 2


@pytest.mark.parametrize("size", [len(BODY) + 1, len(BODY) - 1])
def test_d2_another_length_than_announced_leaves_nothing(machine: MachineHere, hub: FakeHub, size: int):
    hub.files[FILE].size = size
    refused(machine.zoo("fetch", MODEL), 5, "broke off")
    assert_nothing_cached(machine)


@pytest.mark.parametrize("status", [403, 404, 429, 503])
def test_d4_the_status_is_named(machine: MachineHere, hub: FakeHub, status: int):
    hub.status = (status, "")
    started = time.monotonic()
    refused(machine.zoo("fetch", MODEL), 5, f"HTTP {status}")
    assert time.monotonic() - started < 15
    assert len(hub.requests) <= 2


def test_d4_a_status_of_the_download_itself_is_named(machine: MachineHere, hub: FakeHub):
    hub.body_status = 503
    refused(machine.zoo("fetch", MODEL), 5, "HTTP 503")
    assert_nothing_cached(machine)


def test_d4_a_stall_ends_at_the_timeout(machine: MachineHere, hub: FakeHub):
    hub.files[FILE].stall = 1000
    started = time.monotonic()
    refused(machine.zoo("fetch", MODEL, "--timeout", 1), 5, "in time", "the time allowed is over")
    assert time.monotonic() - started < 15
    assert_nothing_cached(machine)


def test_d4_a_stalled_url_ends_at_the_timeout(machine: MachineHere, hub: FakeHub):
    # The name is real, the server is not: a lock leads to it.
    hub.files["owner/x/net.pth"] = HubFile(BODY, stall=1000)
    url = f"{hub.url}/owner/x/resolve/main/net.pth"
    entry = f'{{"source": "{url}", "file": "net.pth", "size": {len(BODY)}, "sha256": "{DIGEST}"}}'
    (machine.folder / "zoo.lock").write_text(f'{{"zoo_lock": 1, "weights": {{"net.x": {entry}}}}}')
    refused(machine.zoo("fetch", "--locked", "zoo.lock", "--timeout", 1), 5, "in time")
    assert list(machine.checkpoints.iterdir()) == []


def test_d4_a_token_is_not_sent_to_another_host(machine: MachineHere, hub: FakeHub):
    with FakeHub(plain={"/elsewhere": BODY}) as other:
        hub.files[FILE].location = f"{other.url}/elsewhere"
        fetched(machine, env={"HF_TOKEN": "hf_topsecret"})
        assert "Bearer hf_topsecret" in hub.authorizations
        assert other.requests
        assert set(other.authorizations) == {None}


def test_d4_a_redirect_in_a_circle_ends(machine: MachineHere, hub: FakeHub):
    path = f"/{REPO}/resolve/main/model.safetensors"
    hub.redirects[path] = path
    refused(machine.zoo("fetch", MODEL, "--timeout", 5), 5)
    assert_nothing_cached(machine)


@pytest.mark.parametrize("name", ["../../../../../planted", "x" * 5000])
def test_d6_an_etag_that_is_no_hash_writes_nothing(machine: MachineHere, hub: FakeHub, name: str):
    before = machine.files()
    hub.files[FILE].etag = name
    refused(machine.zoo("fetch", MODEL), 4, "no hash")
    assert machine.files() == before


def test_d6_an_etag_that_changes_between_two_requests_writes_nothing(machine: MachineHere, hub: FakeHub):
    hub.files[FILE].later_etag = "../../../../../planted"
    refused(machine.zoo("fetch", MODEL), 4, "no hash")
    assert len(hub.requests) == 2
    assert not [path for path in machine.files() if "planted" in path]


@pytest.mark.parametrize("commit", ["../../../planted", ""])
def test_d6_a_commit_that_is_no_hash_writes_nothing(machine: MachineHere, hub: FakeHub, commit: str):
    before = machine.files()
    hub.commit = commit
    refused(machine.zoo("fetch", MODEL), 4, "commit")
    assert machine.files() == before


@pytest.mark.parametrize(
    "name",
    ["../../x", "owner/" + "x" * 5000, "x" * 200 + "/" + "x" * 200, "owner/x@../../main", "owner/\x1b[31m", "a\0b/c"],
)
def test_d6_a_repository_name_that_leads_out(machine: MachineHere, hub: FakeHub, name: str):
    run = machine.zoo("adapt-weights", f"hf-hub:{name}", "--in-chans", 4, "-o", "out.safetensors")
    refused(run, 4, "leads out")
    assert hub.requests == []


# ---------------------------------------------------------------- the cached file


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "through the link"])
def test_d3_a_cached_file_that_changed_is_found_on_use(machine: MachineHere, hub: FakeHub, damage: str):
    snapshot = fetched(machine)
    blob = snapshot if damage == "through the link" else snapshot.resolve()
    with blob.open("r+b") as file:
        if damage in ("truncated", "empty"):
            file.truncate(100 if damage == "truncated" else 0)
        else:
            file.write(b"X")
    hub.requests.clear()
    refused(machine.zoo("fetch", MODEL), 4, "is damaged", f"rm '{snapshot.resolve()}'")
    assert hub.requests == []


def changed_behind_its_time(blob: Path) -> None:
    status = blob.stat()
    with blob.open("r+b") as file:
        file.write(b"X")
    os.utime(blob, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_d3_a_change_that_keeps_size_and_time_of_writing_is_found(machine: MachineHere):
    changed_behind_its_time(fetched(machine).resolve())
    refused(machine.zoo("fetch", MODEL), 4, "is damaged")


def test_d3_what_the_disk_alone_changed_is_found_with_verify(machine: MachineHere):
    blob = fetched(machine).resolve()
    changed_behind_its_time(blob)
    # A disk that loses a bit changes no time at all: as if this were the stamp from before.
    (stamps,) = machine.folder.rglob("verified.json")
    known = json.loads(stamps.read_text())
    known[str(blob)]["ctime_ns"] = blob.stat().st_ctime_ns
    stamps.write_text(json.dumps(known))
    assert machine.zoo("fetch", MODEL).code == 0
    refused(machine.zoo("fetch", MODEL, "--verify"), 4, "is damaged")
    refused(machine.zoo("fetch", MODEL), 4, "is damaged")


def test_d5_offline_and_cached_makes_no_request(machine: MachineHere, hub: FakeHub):
    path = fetched(machine)
    hub.requests.clear()
    assert fetched(machine, "--offline") == path
    assert fetched(machine, env={"HF_HUB_OFFLINE": "1"}) == path
    assert machine.zoo_without_network("fetch", MODEL).code == 0
    assert hub.requests == []


@pytest.mark.parametrize("dangling", [False, True])
def test_d5_offline_and_not_cached_names_the_file_and_the_command(machine: MachineHere, hub: FakeHub, dangling: bool):
    if dangling:
        fetched(machine).resolve().unlink()
        hub.requests.clear()
    run = machine.zoo("adapt-weights", MODEL, "--in-chans", 4, "-o", "out", "--offline")
    refused(run, 5, f"model.safetensors of the Hub repository {REPO}", f"zoo fetch {MODEL}")
    assert hub.requests == []


# ---------------------------------------------------------------- other processes


def test_d1_a_sound_file_that_another_process_fetched_meanwhile_stays(machine: MachineHere):
    path = fetched(machine)
    quarantine(path, path.stat().st_ino + 1)
    assert machine.blobs() == [DIGEST]


@pytest.mark.parametrize("before", ["", BROKEN_LOCK], ids=["locks", "locks that do nothing"])
def test_d7_eight_processes_at_once(machine: MachineHere, hub: FakeHub, before: str):
    runs = [machine.start("fetch", MODEL, "--quiet", before=before) for _ in range(8)]
    told = [(*run.communicate(timeout=100), run.returncode) for run in runs]
    path = machine.repository() / "snapshots" / COMMIT / "model.safetensors"
    assert told == [(f"{path}\n", "", 0)] * 8
    assert path.read_bytes() == BODY
    assert machine.blobs() == [DIGEST]
    if not before:
        assert hub.downloads == 1


def test_d8_killed_in_the_middle_of_a_download(machine: MachineHere, hub: FakeHub):
    file = hub.files[FILE]
    file.stall, file.times = 20000, 1
    run = machine.start("fetch", MODEL)
    assert hub.stalled.wait(60)
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=60)
    hub.go_on.set()
    left = machine.blobs()
    assert len(left) == 1
    assert left[0].endswith(".incomplete")

    fetched(machine)
    listed = machine.zoo("cache", "list").stdout
    assert f"incomplete {os.stat(machine.repository() / 'blobs' / left[0]).st_size} " in listed
    pruned = machine.zoo("cache", "prune")
    assert (pruned.code, machine.blobs()) == (0, [DIGEST]), pruned.stderr
    fetched(machine)


def test_d8_a_running_download_is_not_pruned(machine: MachineHere, hub: FakeHub):
    file = hub.files[FILE]
    file.stall, file.times = 20000, 1
    with machine.start("fetch", MODEL, "--timeout", "50") as run:
        assert hub.stalled.wait(60)
        left = machine.blobs()
        pruned = machine.zoo("cache", "prune")
        assert pruned.code == 0
        assert "another process" in pruned.stderr
        refused(machine.zoo("cache", "remove", MODEL), 6, "holds")
        assert machine.blobs() == left
        run.kill()


def test_d10_a_lock_of_a_living_process_is_waited_for_within_bounds(machine: MachineHere):
    lock = lock_file(machine)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused(machine.zoo("fetch", MODEL, "--timeout", 1), 5, "Another process", str(lock))
    fetched(machine)


def test_d10_the_lock_file_of_a_dead_process_does_not_count(machine: MachineHere):
    lock_file(machine).write_text("4194304\n")
    fetched(machine)


def test_d10_a_stale_lock_on_a_disk_without_locks_is_named(machine: MachineHere):
    # Of a process that is alive, on a machine that is not this one: nobody can tell that it is stale.
    lock = lock_file(machine)
    lock.write_text("1\nanother-machine\n")
    refused(machine.zoo("fetch", MODEL, "--timeout", 1.5, before=NO_LOCK), 5, f"rm '{lock}'")
    lock.unlink()
    fetched(machine, before=NO_LOCK)


def lock_file(machine: MachineHere) -> Path:
    path = machine.hub_cache / ".locks" / machine.repository().name / f"{DIGEST}.lock"
    path.parent.mkdir(parents=True)
    return path


# ---------------------------------------------------------------- the disk


@pytest.mark.skipif(not can_mount(), reason="no user namespaces here")
def test_d9_a_read_only_cache_is_read_and_not_written(machine: MachineHere, hub: FakeHub):
    path = fetched(machine)
    hub.files["timm/resnet10t.c3_in1k/model.safetensors"] = HubFile(BODY)
    folders = [Path(top) for top, _, _ in os.walk(machine.folder)]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert fetched(machine, prefix=without_root()) == path
        run = machine.zoo("fetch", "resnet10t.c3_in1k", prefix=without_root())
        refused(run, 6, "could not be stored", "Permission denied")
        refused(machine.zoo("cache", "remove", MODEL, prefix=without_root()), 6)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert fetched(machine) == path


@pytest.mark.skipif(not can_mount(), reason="no user namespaces here")
def test_d9_a_full_disk(machine: MachineHere, hub: FakeHub):
    hub.files[FILE] = HubFile(bytes(4 << 20))
    machine.hf_home.mkdir()
    script = (
        'mount -t tmpfs -o size=2m none "$HF_HOME" || exit 99; "$@"; code=$?; ls "$HF_HOME"/hub/*/blobs; exit $code'
    )
    run = machine.zoo("fetch", MODEL, prefix=["unshare", "-rm", "sh", "-c", script, "sh"])
    refused(run, 6, "could not be stored", "No space left")


def test_d9_a_disk_without_symbolic_links(machine: MachineHere, hub: FakeHub):
    run = machine.process("fetch", MODEL, env={"HF_HUB_DISABLE_SYMLINKS": "1"})
    assert run.code == 0, run.stderr
    path = Path(run.stdout.rstrip("\n"))
    assert (path.is_symlink(), path.read_bytes()) == (False, BODY)
    hub.requests.clear()
    assert fetched(machine) == path
    assert hub.requests == []


def test_d9_a_lock_folder_that_is_a_file(machine: MachineHere):
    machine.hub_cache.mkdir(parents=True)
    (machine.hub_cache / ".locks").write_text("")
    refused(machine.zoo("fetch", MODEL), 6, "could not be stored")


# ---------------------------------------------------------------- rubbish and secrets


def test_d11_rubbish_neither_stops_a_listing_nor_leads_outside(machine: MachineHere, tmp_path: Path):
    path = fetched(machine)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    rubbish(machine, path.parent, outside)
    listed = machine.zoo("cache", "list", "--json")
    assert listed.code == 0, listed.stderr
    assert "precious" not in listed.stdout.replace("to-precious", "")
    for words in (["verify"], ["prune", "--dry-run"], ["prune"], ["list"], ["remove", REPO]):
        run = machine.zoo("cache", *words)
        assert run.code == 0, (words, run.stderr)
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_bytes() == b"precious"
    assert not machine.repository().exists()


def rubbish(machine: MachineHere, snapshot: Path, outside: Path) -> None:
    cache, blobs = machine.hub_cache, machine.repository() / "blobs"
    (cache / "models--").mkdir()
    (cache / "models--a--b--c--d").write_text("a file")
    (cache / "models--to--precious").symlink_to(outside)
    (cache / "models--loop--loop").symlink_to("models--loop--loop")
    (cache / "datasets--a--b").mkdir()
    (cache / "models--odd--odd" / "snapshots" / "not a commit" / "deep").mkdir(parents=True)
    (cache / "models--odd--odd" / "snapshots" / "not a commit" / "deep" / "to-precious").symlink_to(
        outside / "precious"
    )
    (cache / "models--odd--odd" / "blobs").symlink_to(outside)
    (snapshot / "gone").symlink_to("../../blobs/" + "0" * 64)
    (snapshot / "loop").symlink_to("loop")
    (snapshot / "folder").symlink_to(outside)
    os.mkfifo(snapshot / "pipe")
    os.mkfifo(blobs / ("1" * 64))
    (blobs / "a folder").mkdir()
    (blobs / "to-precious").symlink_to(outside / "precious")
    (blobs / f"{DIGEST}.00000000.incomplete").symlink_to(outside / "precious")
    Path(os.fsdecode(os.fsencode(blobs) + b"/\xff\x1b[31m")).write_bytes(b"x")
    machine.checkpoints.mkdir(parents=True)
    (machine.checkpoints / "to-precious.pth").symlink_to(outside / "precious")


@pytest.mark.parametrize("status", [None, 401, 503])
def test_d12_a_token_is_never_told_nor_stored(machine: MachineHere, hub: FakeHub, status: int | None):
    hub.status = (status, "") if status else None
    token = "hf_" + "topsecret" * 3
    env = {"HF_TOKEN": token, "ZOO_DEBUG": "1"}
    told = ""
    commands = (
        ["fetch", MODEL, "--json"],
        ["fetch", "resnet10t", "--verbose"],
        ["lock", MODEL, "-o", "zoo.lock", "--json"],
        ["cache", "list", "--json"],
        ["bundle", MODEL, "-o", "w.tar", "--verbose"],
    )
    for words in commands:
        run = machine.zoo(*words, env=env)
        told += run.stdout + run.stderr
    assert f"Bearer {token}" in hub.authorizations
    assert "topsecret" not in told
    stored = subprocess.run(["grep", "-rl", "topsecret", machine.folder], capture_output=True, check=False)
    assert stored.stdout == b""
