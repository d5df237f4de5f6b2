"""An output file is the old content or the whole new one, whatever happens on the way.

What the system can do to the command as a whole is in tests/faults.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.core.errors import CannotWriteError
from zoo.core.files.atomic_output import atomic_output

OLD, NEW = b"old", b"new content"
STALE = ".zoo-0123456789abcdef.tmp"


def write(path: str | os.PathLike[str], data: bytes = NEW, *, force: bool = False) -> bool:
    with atomic_output(path, force=force) as file:
        file.write(data)
    return file.unchanged


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def child(program: str, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A Python process that has `atomic_output` at hand."""
    head = "import os, sys, signal\nfrom zoo.core.files.atomic_output import atomic_output\n"
    command = [sys.executable, "-P", "-c", head + program, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def umask():
    """Set the umask for one test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


# ---------------------------------------------------------------- what was there before


def test_a_new_file(tmp_path: Path):
    assert write(tmp_path / "w") is False
    assert (tmp_path / "w").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["w"]


def test_equal_content_is_left_alone(tmp_path: Path):
    path = tmp_path / "w"
    path.write_bytes(NEW)
    before = path.stat()
    assert write(path) is True
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert os.listdir(tmp_path) == ["w"]


@pytest.mark.parametrize("old", [OLD, b"", NEW + b"!", NEW[:-1] + b"!"])
def test_other_content_needs_force(tmp_path: Path, old: bytes):
    path = tmp_path / "w"
    path.write_bytes(old)
    with pytest.raises(CannotWriteError, match="already exists with other contents") as caught:
        write(path)
    assert "--force" in caught.value.hint
    assert path.read_bytes() == old
    assert write(path, force=True) is False
    assert path.read_bytes() == NEW
    assert os.listdir(tmp_path) == ["w"]


@pytest.mark.parametrize(("mask", "expected"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_mode_follows_the_umask(tmp_path: Path, umask, mask: int, expected: int):
    umask(mask)
    write(tmp_path / "w")
    assert mode(tmp_path / "w") == expected


def test_an_existing_file_keeps_its_mode(tmp_path: Path, umask):
    path = tmp_path / "w"
    path.write_bytes(OLD)
    path.chmod(0o640)
    write(path, force=True)
    assert mode(path) == 0o640


def test_an_error_in_the_middle_leaves_the_old_content(tmp_path: Path):
    path = tmp_path / "w"
    path.write_bytes(OLD)

    def fail() -> None:
        with atomic_output(path, force=True) as file:
            file.write(NEW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["w"]


# ---------------------------------------------------------------- links and what is no file


def test_a_link_keeps_pointing_at_its_target(tmp_path: Path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "w", tmp_path / "link"
    target.write_bytes(OLD)
    link.symlink_to(target)
    write(link, force=True)
    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert not target.is_symlink()


def test_a_hard_link_is_replaced_and_the_other_name_keeps_its_content(tmp_path: Path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(OLD)
    os.link(first, second)
    write(second, force=True)
    assert (first.read_bytes(), second.read_bytes()) == (OLD, NEW)


@pytest.mark.parametrize("destination", ["nowhere", "link"])
def test_a_dangling_link_and_a_loop_are_refused(tmp_path: Path, destination: str):
    (tmp_path / "link").symlink_to(destination)
    with pytest.raises(CannotWriteError, match="a link to a file that does not exist"):
        write(tmp_path / "link", force=True)
    assert os.listdir(tmp_path) == ["link"]


def test_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(CannotWriteError, match="is a folder; the output must be a file"):
        write(tmp_path, force=True)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_stays_one(device: str):
    with pytest.raises(CannotWriteError, match="not a regular file"):
        write(device, force=True)
    assert stat.S_ISCHR(os.stat(device).st_mode)


def test_a_pipe_and_a_socket_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for name in ("fifo", "socket"):
            with pytest.raises(CannotWriteError, match=f"{name} is not a regular file"):
                write(name, force=True)
    assert sorted(os.listdir()) == ["fifo", "socket"]


@pytest.mark.parametrize(
    "path",
    [
        "models--timm--resnet34/blobs/{sha}",
        "models--timm--resnet34/snapshots/{commit}/model.safetensors",
        "models--timm--resnet34/refs/main",
        "blobs/ab/{sha}",
    ],
)
def test_a_file_of_the_hub_cache_is_never_replaced(tmp_path: Path, path: str):
    target = tmp_path / "hub" / path.format(sha="a" * 64, commit="b" * 40)
    target.parent.mkdir(parents=True)
    target.write_bytes(OLD)
    with pytest.raises(CannotWriteError, match="Hugging Face cache"):
        write(target, force=True)
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(CannotWriteError, match="Hugging Face cache"):
        write(link, force=True)
    assert target.read_bytes() == OLD


def test_a_snapshot_link_is_refused_wherever_it_leads(tmp_path: Path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "c" / "model.safetensors"
    snapshot.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").write_bytes(OLD)
    snapshot.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotWriteError, match="Hugging Face cache"):
        write(snapshot, force=True)
    assert (tmp_path / "elsewhere").read_bytes() == OLD


# ---------------------------------------------------------------- names and folders


def test_a_missing_folder_is_named_with_the_command_that_makes_it(tmp_path: Path):
    with pytest.raises(CannotWriteError, match=r"The folder .*new one does not exist") as caught:
        write(tmp_path / "new one" / "w")
    assert caught.value.hint == f"Create it: mkdir -p '{tmp_path}/new one'"


def test_a_file_where_the_folder_should_be(tmp_path: Path):
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(CannotWriteError, match=r"Not a directory|does not exist"):
        write(tmp_path / "file" / "w")


def test_the_longest_name_and_one_more(tmp_path: Path):
    write(tmp_path / ("n" * 255))
    with pytest.raises(CannotWriteError, match="File name too long") as caught:
        write(tmp_path / ("n" * 256))
    assert "shorter" in caught.value.hint


def test_a_name_that_is_not_utf8(tmp_path: Path):
    write(os.path.join(str(tmp_path), os.fsdecode(b"w\xff")))
    assert os.listdir(os.fsencode(tmp_path)) == [b"w\xff"]


def test_a_name_with_a_nul_is_refused(tmp_path: Path):
    with pytest.raises(CannotWriteError, match="NUL"):
        write(f"{tmp_path}/a\0b")


# ---------------------------------------------------------------- the system says no


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs users")
def test_a_folder_that_may_not_be_written(tmp_path: Path):
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.owner() == Path(tmp_path).owner():
            folder.chmod(0o755)
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    program = """
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    with atomic_output(sys.argv[1]) as file:
        file.write(b"x")
except Exception as error:
    print(type(error).__name__, error)
"""
    run = child(program, str(locked / "w"))
    assert run.stdout.startswith("CannotWriteError")
    assert "Permission denied" in run.stdout
    assert os.listdir(locked) == []


@pytest.mark.parametrize("call", ["fsync", "rename", "pwrite"])
def test_an_error_of_the_disk_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    path = tmp_path / "w"
    path.write_bytes(OLD)

    def fail(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(CannotWriteError, match=r"w could not be written: Input/output error\."):
        write(path, force=True)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["w"]


# ---------------------------------------------------------------- signals and what they leave


INTERRUPTED = """
from zoo.cli.errors import stop_on_signals
stop_on_signals()
with atomic_output(sys.argv[1], force=True) as file:
    file.write(b"half")
    os.kill(os.getpid(), int(sys.argv[2]))
    file.write(b"other half")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_a_write_leaves_the_old_content(tmp_path: Path, number: signal.Signals):
    path = tmp_path / "w"
    path.write_bytes(OLD)
    assert child(INTERRUPTED, str(path), str(int(number))).returncode in (-number, 128 + number)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["w"]


def test_what_a_killed_process_leaves_is_removed_by_the_next_run(tmp_path: Path):
    path = tmp_path / "w"
    path.write_bytes(OLD)
    assert child(INTERRUPTED, str(path), str(int(signal.SIGKILL))).returncode == -signal.SIGKILL
    assert path.read_bytes() == OLD
    assert len(os.listdir(tmp_path)) == 2
    write(path, force=True)
    assert os.listdir(tmp_path) == ["w"]


def test_a_file_of_another_name_is_not_taken_for_stale(tmp_path: Path):
    kept = {".zoo-notes.tmp", ".zoo-0123456789abcdef.tmp.txt", "zoo-0123456789abcdef.tmp"}
    for name in (*kept, STALE):
        (tmp_path / name).write_bytes(OLD)
    write(tmp_path / "w")
    assert set(os.listdir(tmp_path)) == kept | {"w"}


def test_a_temporary_file_in_use_is_not_taken_for_stale(tmp_path: Path):
    with atomic_output(tmp_path / "first") as first:
        first.write(OLD)
        write(tmp_path / "second")
    assert sorted(os.listdir(tmp_path)) == ["first", "second"]
    assert (tmp_path / "first").read_bytes() == OLD


def test_a_temporary_file_taken_for_stale_before_it_was_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # What another run that cleans up at the same moment does.
    real_open, removed = os.open, []

    def open_and_lose(path: str, flags: int, *rest: int, **options: int) -> int:
        fd = real_open(path, flags, *rest, **options)
        if flags & os.O_EXCL and not removed:
            removed.append(path)
            os.unlink(path)
        return fd

    monkeypatch.setattr(os, "open", open_and_lose)
    write(tmp_path / "w")
    assert len(removed) == 1
    assert (tmp_path / "w").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["w"]
