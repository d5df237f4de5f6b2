"""What can go wrong with the output, one test a row of the fault matrix (C1 to C13).

Whatever happens: the exit code, a sentence and a hint on stderr, the old output or the whole new one, nothing beside
it. How each spelling of a fault is told is in tests/files/test_atomic_output.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors import safe_open

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import CannotWriteError
from zoo.core.files.atomic_output import atomic_output

from injection import (
    COPY,
    INPUT,
    MODEL,
    OLD,
    OUT,
    Call,
    Job,
    Outcome,
    adapt_words,
    assert_told,
    calls_of_the_write,
    can_mount,
    can_trace,
    limited,
    on_a_small_disk,
    run_zoo,
    stopped_at,
    temporary_files,
    without_root,
    write_command,
    zoo_command,
)
from processes import read_terminal, started
from weight_bytes import Tensor, weight_bytes

needs_strace = pytest.mark.skipif(not can_trace(), reason="needs strace and the right to trace")
needs_mount = pytest.mark.skipif(not can_mount(), reason="needs the right to mount a tmpfs in a namespace")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def adapted(source: Path, folder: Path, in_chans: int = 4) -> Path:
    """What a run that nothing disturbs writes."""
    path = folder / f"expected-{in_chans}"
    words = adapt_words(source, "--quiet", in_chans=in_chans, out=path)
    assert errors.run(app, [str(word) for word in words]) == 0
    return path


# ---------------------------------------------------------------- C1 to C4: every system call of the write


class Write:
    """A program that does nothing but write a small file, and the calls it makes while doing so."""

    def __init__(self, folder: Path) -> None:
        tensors: dict[str, Tensor] = {name: ("U8", (9000,), name.encode() * 9000) for name in "abc"}
        (folder / "source").write_bytes(weight_bytes(tensors))
        (folder / "out").mkdir()
        self.out = folder / "out" / "w"
        self.command = write_command(folder / "source", self.out)
        self.out.write_bytes(OLD)
        self.calls = calls_of_the_write(self.command, folder / "trace")
        self.new = self.out.read_bytes()
        assert self.new != OLD

    def run(self, call: Call, fault: str) -> subprocess.CompletedProcess[str]:
        """Write over the old content with a fault at one call."""
        self.out.write_bytes(OLD)
        command = [*call.injecting(fault), *self.command]
        return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60)


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """One for the module: the calls are the same every time."""
    return Write(tmp_path_factory.mktemp("write"))


ERRORS = {
    "openat": "EACCES", "fallocate": "ENOSPC", "pwrite64": "ENOSPC", COPY: "EIO", "fchmod": "EPERM",
    "fadvise64": "EINVAL", "flock": "ENOLCK", "fsync": "EIO", "rename": "EACCES",
}  # fmt: skip
ONLY_USEFUL = {"fadvise64", "flock", "getdents64", "unlink"}
"""Without these the file is written all the same."""
NEEDED = {"fallocate", "pwrite64", COPY, "fchmod", "rename"}
CHANGING = {*NEEDED, "openat", "flock", "fsync", "unlink", "close"}
"""Between two of these nothing on the disk is different."""


@needs_strace
def test_c1_c2_an_error_of_every_system_call(write: Write):
    seen = {call.name for call in write.calls}
    assert seen >= {*ERRORS, "close", "newfstatat"} - {"flock"}
    for call in write.calls:
        if call.name == "close":  # of what was only read, or is synced
            continue
        error = ERRORS.get(call.name, "EIO")
        run = write.run(call, f"error={error}")
        written = write.out.read_bytes()
        where = f"{call} {error}: {run.returncode} {run.stderr}"
        failed = 4 if call.name == "preadv2" else 6
        assert (run.returncode, written) in [(failed, OLD), (0, write.new)], where
        assert os.listdir(write.out.parent) == ["w"] or call.name == "unlink", where
        assert not (call.name in NEEDED and run.returncode == 0), where
        assert not (call.name in ONLY_USEFUL and run.returncode), where
    after = {name: max(call.when for call in write.calls if call.name == name) + 1 for name in seen}
    assert write.run(Call("pwrite64", after["pwrite64"]), "error=ENOSPC").returncode == 0


@needs_strace
def test_c2_a_file_system_that_sets_no_space_aside_is_written_all_the_same(write: Write):
    assert write.run(Call("fallocate", 1), "error=EOPNOTSUPP").returncode == 0
    assert write.out.read_bytes() == write.new


@pytest.fixture(scope="module")
def write_without_disk() -> Iterator[Write]:
    """Where the kernel is asked to copy, as on a server's file system."""
    if not os.path.isdir("/dev/shm") or os.major(os.stat("/dev/shm").st_dev):
        pytest.skip("needs a file system in memory")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Write(Path(folder))


@needs_strace
@pytest.mark.parametrize("fault", ["error=EXDEV", "error=EPERM", "retval=0"])
def test_c2_what_a_file_system_does_not_copy_is_read_and_written(write_without_disk: Write, fault: str):
    write = write_without_disk
    assert Call("copy_file_range", 1) in write.calls
    assert write.run(Call("copy_file_range", 1), fault).returncode == 0
    assert write.out.read_bytes() == write.new
    assert write.run(Call("copy_file_range", 1), "error=EDQUOT").returncode == 6


@needs_strace
@pytest.mark.parametrize(
    ("call", "error", "reason"),
    [
        (Call("fallocate", 1), "ENOSPC", "No space left on device"),
        (Call("pwrite64", 1), "EDQUOT", "Disk quota exceeded"),
        (Call("pwrite64", 2), "ENOSPC", "No space left on device"),
        (Call("fsync", 1), "EIO", "Input/output error"),
        (Call("rename", 1), "EACCES", "Permission denied"),
        (Call("rename", 1), "EROFS", "Read-only file system"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, Call) else None,
)
def test_c1_c2_the_command_tells_what_the_system_said(sound_job: Job, call: Call, error: str, reason: str):
    run = sound_job.run(prefix=call.injecting(f"error={error}"))
    sound_job.assert_refused(run, 6, f"{OUT} could not be written: {reason}.", "-o")


@needs_strace
@pytest.mark.skipif(COPY != "preadv2", reason="the kernel does not say which side failed where it copies")
def test_c1_a_source_whose_disk_fails_is_not_called_an_output_that_does(sound_job: Job):
    run = sound_job.run(prefix=Call(COPY, 2).injecting("error=EIO"))
    sound_job.assert_refused(run, 4, f"{sound_job.source} could not be read: Input/output error.", "again")


@needs_mount
@pytest.mark.parametrize(("read_only", "reason"), [(False, "No space left on device"), (True, "Read-only file system")])
def test_c1_c2_a_full_and_a_read_only_disk(tmp_path: Path, sound: Path, read_only: bool, reason: str):
    run = on_a_small_disk(tmp_path, "4m", *adapt_words(sound, "--force"), read_only=read_only)
    assert_told(run, 6, f"{OUT} could not be written: {reason}.", "-o")
    assert os.listdir(tmp_path / "after") == [OUT]
    assert (tmp_path / "after" / OUT).read_bytes() == OLD


@needs_mount
def test_c1_the_same_for_create(tmp_path: Path):
    # test_resnet takes 2 MB; the command needs torch, which takes seconds to import, so only once.
    run = on_a_small_disk(tmp_path, "1m", "create", "test_resnet", "--force", "-o", OUT)
    assert_told(run, 6, f"{OUT} could not be written: No space left on device.", peak_mib=500)
    assert (tmp_path / "after" / OUT).read_bytes() == OLD
    assert os.listdir(tmp_path / "after") == [OUT]


@needs_strace
def test_c3_killed_at_every_system_call_that_changes_something(write: Write):
    left = 0
    changes = [call for call in write.calls if call.name in CHANGING]
    for call in changes:
        run = write.run(call, "signal=KILL")
        assert run.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), call
        assert write.out.read_bytes() in (OLD, write.new), call
        left += len(temporary_files(write.out.parent))
        with atomic_output(write.out, force=True) as output:  # the next run
            output.write(OLD)
        assert os.listdir(write.out.parent) == ["w"], call
    assert left > len(changes) / 3  # else this test killed too early or too late


@needs_strace
def test_c4_terminated_at_every_system_call(write: Write):
    codes = set()
    for call in write.calls:
        run = write.run(call, "signal=TERM")
        codes.add(run.returncode)
        assert write.out.read_bytes() in (OLD, write.new), f"{call}: {run.stderr}"
        assert os.listdir(write.out.parent) == ["w"], f"{call}: {run.stderr}"
    assert codes == {143}


@needs_strace
@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143), ("HUP", 129)])
@pytest.mark.parametrize("call", [Call(COPY, 2), Call("fsync", 1)], ids=lambda call: call.name)
def test_c4_a_signal_ends_the_command_and_leaves_nothing(sound_job: Job, name: str, code: int, call: Call):
    run = sound_job.run(prefix=call.injecting(f"signal={name}"))
    assert (run.code, run.stdout, run.stderr.count("\n")) == (code, "", 1)
    assert run.stderr.startswith("zoo: error: ")
    sound_job.assert_untouched()


def test_c4_a_reader_that_has_left_is_no_failure(sound_job: Job):
    reader, writer = os.pipe()
    os.close(reader)
    run = sound_job.run(stdout=writer)
    os.close(writer)
    sound_job.assert_done(run)


# ---------------------------------------------------------------- C5: limits


def test_c5_a_limit_on_the_size_of_files(sound_job: Job):
    run = sound_job.run(prefix=limited("f", 2048))  # blocks of 512 bytes
    sound_job.assert_refused(run, 6, f"{OUT} could not be written: File too large.", "ulimit -f")


def test_c5_a_limit_on_the_number_of_open_files(sound_job: Job):
    # Three are the standard streams. From one more on: Python starts, the source opens, the output opens, numpy loads.
    codes = []
    for limit in range(5, 16):
        run = sound_job.run(prefix=limited("n", limit))
        codes.append(run.code)
        if run.code == 0:
            sound_job.assert_done(run)
            break
        sound_job.assert_refused(run, run.code, "Too many open files", "ulimit -n")
    assert codes[-1] == 0
    assert set(codes[:-1]) <= {5, 6}
    assert len(codes) > 1


def test_c5_a_limit_on_memory(sound_job: Job, largest_header: Path):
    limit = limited("v", 200 << 10)
    sound_job.assert_done(sound_job.run(prefix=limit))
    sound_job.out.write_bytes(OLD)
    sound_job.inode = sound_job.out.stat().st_ino
    sound_job.source = largest_header
    sound_job.assert_refused(sound_job.run(prefix=limit), 1, "There is not enough memory for this.", peak_mib=200)


# ---------------------------------------------------------------- C6 to C9: what the output is


@pytest.fixture
def output(request: pytest.FixtureRequest, job: Job, sound: Path) -> str:
    """A name in the job's folder that the command may replace, or must not."""
    folder = job.folder
    shutil.copy(sound, job.source)
    match request.param:
        case "the source":
            return str(job.source)
        case "link to the source":
            (folder / "link").symlink_to(job.source)
        case "hard link of the source":
            os.link(job.source, folder / "link")
        case "blob" | "snapshot":
            cache = folder / "hub" / "models--timm--resnet10t"
            blob, snapshot = cache / "blobs" / ("a" * 64), cache / "snapshots" / ("b" * 40) / "model.safetensors"
            blob.parent.mkdir(parents=True)
            snapshot.parent.mkdir(parents=True)
            blob.write_bytes(OLD)
            snapshot.symlink_to(os.path.relpath(blob, snapshot.parent))
            return str(blob if request.param == "blob" else snapshot)
        case "folder":
            (folder / "odd").mkdir()
            return "odd"
        case "fifo":
            os.mkfifo(folder / "odd")
            return "odd"
        case "socket":
            before = os.getcwd()
            os.chdir(folder)  # a socket's path has to be short
            with socket.socket(socket.AF_UNIX) as server:
                server.bind("odd")
            os.chdir(before)
            return "odd"
        case "dangling link":
            (folder / "odd").symlink_to("nowhere")
            return "odd"
        case "long name":
            return "n" * 256
        case other:
            return other
    return "link"


@pytest.mark.parametrize("output", ["the source", "link to the source"], indirect=True)
def test_c6_a_source_can_be_replaced_by_its_result(job: Job, sound: Path, output: str, tmp_path: Path):
    run = run_zoo(*adapt_words(job.source, "--force", out=output), cwd=job.folder)
    assert (run.code, run.stderr) == (0, "")
    assert job.source.read_bytes() == adapted(sound, tmp_path).read_bytes()
    assert output != "link" or (job.folder / "link").is_symlink()
    assert temporary_files(job.folder) == temporary_files(tmp_path) == []


@pytest.mark.parametrize("output", ["hard link of the source"], indirect=True)
def test_c6_another_name_of_a_replaced_file_keeps_its_content(job: Job, sound: Path, output: str, tmp_path: Path):
    assert run_zoo(*adapt_words(job.source, "--force", out=output), cwd=job.folder).code == 0
    assert job.source.read_bytes() == sound.read_bytes()
    assert (job.folder / output).read_bytes() == adapted(sound, tmp_path).read_bytes()


@pytest.mark.parametrize("output", ["blob", "snapshot"], indirect=True)
def test_c6_the_hub_cache_is_never_written(job: Job, output: str):
    run = run_zoo(*adapt_words(job.source, "--force", out=output), cwd=job.folder)
    assert_told(run, 6, output, "Hugging Face cache", "outside")
    assert Path(output).read_bytes() == OLD
    assert temporary_files(Path(output).parent) == []


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("folder", "odd is a folder"),
        ("/dev/null", "/dev/null is not a regular file"),
        ("/dev/full", "/dev/full is not a regular file"),
        ("fifo", "odd is not a regular file"),
        ("socket", "odd is not a regular file"),
        ("dangling link", "odd is a link to a file that does not exist"),
        ("missing/out", "mkdir -p"),
        ("long name", "File name too long"),
    ],
    indirect=["output"],
)
def test_c7_what_is_no_file_stays_what_it_is(job: Job, output: str, words: str):
    def kind() -> tuple[int, int] | None:
        try:
            info = os.lstat(job.folder / output)
        except OSError:
            return None
        return stat.S_IFMT(info.st_mode), info.st_rdev

    before = kind(), os.listdir(job.folder)
    run = run_zoo(*adapt_words(job.source, "--force", out=output), cwd=job.folder, timeout=10)
    assert_told(run, 6, words)
    assert (kind(), os.listdir(job.folder)) == before


@pytest.mark.parametrize("name", ["n" * 255, os.fsdecode(b"w\xff"), "\n"], ids=["long", "bytes", "newline"])
def test_c7_an_odd_name_is_only_a_name(sound_job: Job, name: str):
    run = run_zoo(*adapt_words(sound_job.source, out=name), cwd=sound_job.folder)
    assert (run.code, run.stderr) == (0, "")
    assert all(line.isprintable() for line in run.stdout.splitlines())
    assert set(os.listdir(sound_job.folder)) == {OUT, name}


@pytest.mark.parametrize(
    "words",
    [
        ("adapt-weights", MODEL, "--weights", OUT, "--in-chans", 4),
        ("convert", OUT),
        ("create", MODEL),
        ("lock", MODEL),
        ("bundle", MODEL),
        ("export-features", MODEL, "."),
    ],
    ids=lambda words: words[0],
)
def test_c7_standard_output_is_refused_as_an_output(sound_job: Job, words: tuple[object, ...]):
    run = run_zoo(*words, "-o", "-", cwd=sound_job.folder)
    assert_told(run, 2, "standard output", "-o")
    assert os.listdir(sound_job.folder) == [OUT]


@pytest.mark.parametrize(("mask", "expected"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_c8_the_mode_follows_the_umask(sound_job: Job, mask: int, expected: int):
    sound_job.out.unlink()
    assert sound_job.run(umask=mask).code == 0
    assert stat.S_IMODE(sound_job.out.stat().st_mode) == expected


def test_c8_an_existing_file_keeps_its_mode(sound_job: Job):
    sound_job.out.chmod(0o640)
    sound_job.assert_done(sound_job.run(umask=0o022))
    assert stat.S_IMODE(sound_job.out.stat().st_mode) == 0o640


def test_c8_a_folder_that_may_not_be_written(sound_job: Job):
    sound_job.folder.chmod(0o555)
    run = sound_job.run(prefix=without_root())
    sound_job.folder.chmod(0o755)
    sound_job.assert_refused(run, 6, f"{OUT} could not be written: Permission denied.")


@pytest.mark.parametrize("plant", ["symbolic link", "hard link", "fifo"])
def test_c9_what_another_user_planted_is_not_followed(sound_job: Job, tmp_path: Path, plant: str):
    """A sticky folder with what looks like a temporary file that zoo left; a stranger's, where root runs the tests."""
    victim, planted = tmp_path / "victim", sound_job.folder / ".zoo-0123456789abcdef.tmp"
    victim.write_bytes(OLD)
    if plant == "symbolic link":
        planted.symlink_to(victim)
    elif plant == "hard link":
        os.link(victim, planted)
    else:
        os.mkfifo(planted)
    if plant != "hard link" and os.geteuid() == 0:
        os.lchown(planted, 65534, 65534)
    sound_job.folder.chmod(0o1777)
    run = sound_job.run(timeout=30)
    assert (run.code, run.stderr) == (0, "")
    assert (victim.read_bytes(), victim.stat().st_nlink) == (OLD, 1)
    assert set(temporary_files(sound_job.folder)) == ({planted.name} if plant == "symbolic link" else set())


def test_c9_a_guessed_temporary_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    victim = tmp_path / "victim"
    victim.write_bytes(OLD)
    monkeypatch.setattr(os, "urandom", bytes)  # every name is now known beforehand
    planted = tmp_path / f".zoo-{'0' * 16}.tmp"
    planted.symlink_to(victim)
    with pytest.raises(CannotWriteError, match="File exists"), atomic_output(tmp_path / "w") as file:
        file.write(b"new")
    assert victim.read_bytes() == OLD
    assert not (tmp_path / "w").exists()


# ---------------------------------------------------------------- C10, C11: again and at once


def test_c10_eight_commands_write_one_file(sound_job: Job, tmp_path: Path):
    commands = [
        zoo_command(*adapt_words(sound_job.source, "--force", in_chans=n, out=sound_job.out)) for n in range(4, 12)
    ]
    processes = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for c in commands]
    for process in processes:
        assert (process.communicate(timeout=60)[1], process.returncode) == (b"", 0)
    expected = {digest(adapted(sound_job.source, tmp_path, n)) for n in range(4, 12)}
    assert digest(sound_job.out) in expected
    assert os.listdir(sound_job.folder) == [OUT]


WRITERS = """
import sys
from zoo.core.files.atomic_output import atomic_output
from zoo.core.errors import CannotWriteError
path, letter, force = sys.argv[1], sys.argv[2].encode(), sys.argv[3] == "force"
for _ in range(50):
    try:
        with atomic_output(path, force=force) as file:
            file.write(letter * 5000)
    except CannotWriteError as error:
        assert not force and "already exists with other contents" in error.message, error
"""


@pytest.mark.parametrize("force", ["force", ""])
def test_c10_eight_processes_write_fifty_times(tmp_path: Path, force: str):
    command = [sys.executable, "-P", "-c", WRITERS, str(tmp_path / "w")]
    processes = [subprocess.Popen([*command, letter, force], stderr=subprocess.PIPE) for letter in "abcdefgh"]
    for process in processes:
        assert (process.communicate(timeout=60)[1], process.returncode) == (b"", 0)
    assert (tmp_path / "w").read_bytes() in [letter.encode() * 5000 for letter in "abcdefgh"]
    assert os.listdir(tmp_path) == ["w"]


def test_c11_the_same_bytes_everywhere(sound: Path, tmp_path: Path):
    surroundings = [
        {"LC_ALL": "C", "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1", "TZ": "UTC"},
        {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "2", "TZ": "Pacific/Chatham"},
        {"LC_ALL": "POSIX", "PYTHONHASHSEED": "3", "OMP_NUM_THREADS": "4", "PYTHONUTF8": "0", "COLUMNS": "1"},
    ]
    digests = set()
    for number, env in enumerate(surroundings):
        folder = tmp_path / str(number)
        folder.mkdir()
        source = [sound, os.path.relpath(sound, folder), f"{folder}/link"][number]
        (folder / "link").symlink_to(sound)
        run = run_zoo(*adapt_words(source), cwd=folder, env=os.environ | env, umask=0o22 + number)
        assert (run.code, run.stderr) == (0, "")
        digests.add(digest(folder / OUT))
    assert len(digests) == 1


# ---------------------------------------------------------------- C12: where the words go


@pytest.mark.parametrize("redirection", [">&-", "> /dev/full"])
def test_c12_a_stdout_that_takes_nothing(sound_job: Job, redirection: str):
    run = sound_job.run(prefix=["sh", "-c", f'exec "$@" {redirection}', "sh"])
    assert (run.code, run.stdout) == (6, "")
    assert run.stderr.startswith("zoo: error: ")
    assert "Traceback" not in run.stderr
    assert "Exception ignored" not in run.stderr
    # What the command could not tell had been done all the same.
    with safe_open(sound_job.out, "np") as file:
        assert file.get_slice(INPUT).get_shape() == [24, 4, 3, 3]
    assert temporary_files(sound_job.folder) == []


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full"])
def test_c12_a_stderr_that_takes_nothing(job: Job, redirection: str):
    job.source.write_bytes(b"")
    run = job.run(prefix=["sh", "-c", f'exec "$@" {redirection}', "sh"])
    assert (run.code, run.stdout, run.stderr) == (4, "", "")
    job.assert_untouched()


def test_c12_a_locale_without_unicode(sound_job: Job):
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = run_zoo(*adapt_words(sound_job.source, out="é\u202e"), cwd=sound_job.folder, env=env)
    assert (run.code, run.stderr) == (0, "")
    assert run.stdout.isascii()
    assert set(os.listdir(sound_job.folder)) == {OUT, "é\u202e"}


def on_a_terminal(*words: object, size: tuple[int, int], **options: object) -> tuple[int, str]:
    """Exit code of `zoo WORDS`, and what a terminal of so many (lines, columns) was sent."""
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    with started(zoo_command(*words), stdout=slave, stderr=slave, **options) as process:
        os.close(slave)
        sent = read_terminal(master)
    return process.returncode, sent.decode()


@pytest.mark.parametrize(
    ("size", "columns"), [((0, 0), {}), ((24, 80), {"COLUMNS": "1"}), ((1, 1), {})], ids=["0x0", "COLUMNS=1", "1x1"]
)
@pytest.mark.parametrize("words", [("info", MODEL), ("list", "--filter", "resnet1*"), ("list", "--help")], ids=" ".join)
def test_c12_a_terminal_without_room(words: tuple[str, ...], size: tuple[int, int], columns: dict[str, str]):
    code, sent = on_a_terminal(*words, size=size, env=os.environ | columns | {"TERM": "xterm"})
    assert code == 0
    assert "Traceback" not in sent
    assert MODEL in sent or "--filter" in sent.replace("\r\n", "")


def test_c12_the_job_on_a_terminal_without_room(sound_job: Job):
    words = adapt_words(sound_job.source, "--force", out=sound_job.out)
    code, sent = on_a_terminal(*words, size=(0, 0))
    assert (code, "Traceback" in sent) == (0, False)
    assert "written" in sent


# ---------------------------------------------------------------- C13: the input changes


@needs_strace
def test_c13_a_source_that_is_replaced_meanwhile_was_read_as_it_was(sound_job: Job, tmp_path: Path):
    expected = adapted(sound_job.source, tmp_path).read_bytes()
    sound_job.source = Path(shutil.copy(sound_job.source, tmp_path / "source"))
    (tmp_path / "other").write_bytes(sound_job.source.read_bytes()[:-1000])
    with stopped_at(Call(COPY, 1), held(sound_job)) as go_on:
        os.replace(tmp_path / "other", sound_job.source)
        run = go_on()
    sound_job.assert_done(run)
    assert sound_job.out.read_bytes() == expected


@needs_strace
def test_c13_a_source_that_is_written_to_meanwhile_is_noticed(sound_job: Job, tmp_path: Path):
    sound_job.source = Path(shutil.copy(sound_job.source, tmp_path / "source"))
    with stopped_at(Call(COPY, 1), held(sound_job)) as go_on:
        with open(sound_job.source, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"!")
        run = go_on()
    sound_job.assert_refused(run, 4, f"{sound_job.source} changed while it was being read", "Run the command again")


def held(job: Job) -> list[str]:
    """The job as `stopped_at` takes it: with the path of its output, as it has no folder of its own."""
    return zoo_command(*adapt_words(job.source, "--force", out=job.out))


def test_json_holds_the_outcome_of_a_run_that_nothing_disturbs(sound_job: Job):
    """What all rows vary: the command without a fault."""
    run: Outcome = sound_job.run("--json")
    sound_job.assert_done(run)
    document = json.loads(run.stdout)
    assert (document["status"], document["bytes"]) == ("written", sound_job.out.stat().st_size)
    assert run.peak_mib < 64
