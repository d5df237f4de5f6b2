"""The real command in a process of its own, and what can be made to go wrong around it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from processes import started

MODEL, INPUT = "resnet10t", "conv1.0.weight"
OLD = b"the old content"
OUT = "out.safetensors"
PEAK_MIB = 64
"""The interpreter, numpy and the commands take 35 MiB; no file may bring it above this."""

# VmHWM, not getrusage, which counts what the parent had in memory before the exec too.
_RUN = """
import atexit, sys

def write_peak(path):
    try:
        with open("/proc/self/status") as status, open(path, "w") as file:
            file.writelines(line for line in status if line.startswith("VmHWM"))
    except OSError:
        pass

atexit.register(write_peak, sys.argv.pop(1))
from zoo.cli.start import main
main()
"""


class Outcome(NamedTuple):
    """How a run of the command ended; `peak_mib` is 0 where it could not tell."""

    code: int
    stdout: str
    stderr: str
    peak_mib: float


def zoo_command(*words: object, peak: str = os.devnull, before: str = "") -> list[str]:
    """The command line of `zoo WORDS` in this environment."""
    return [sys.executable, "-P", "-c", f"{before}\n{_RUN}", peak, *map(str, words)]


def run_zoo(*words: object, prefix: Sequence[str] = (), before: str = "", **options: Any) -> Outcome:
    """Run `zoo WORDS` to its end, for a minute at most.

    Args:
        words: the command line.
        prefix: a program that starts it, with its options, as `limited` gives.
        before: Python that runs before zoo is imported.
        options: of subprocess.run.
    """
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, **options}
    with tempfile.NamedTemporaryFile("r") as peak:
        command = [*prefix, *zoo_command(*words, peak=peak.name, before=before)]
        run = subprocess.run(command, text=True, errors="replace", **options)
        told = peak.read().split()
    return Outcome(run.returncode, run.stdout or "", run.stderr or "", int(told[1]) / 1024 if told else 0.0)


def limited(what: str, value: int) -> list[str]:
    """What to put before a command so that it has a limit: a letter of `ulimit`, and its value."""
    return ["sh", "-c", f'ulimit -{what} {value} && exec "$@"', "sh"]


def adapt_words(source: Path | str, *more: object, in_chans: int = 4, out: Path | str = OUT) -> list[object]:
    """The words of the job that all rows are about."""
    return ["adapt-weights", MODEL, "--weights", source, "--in-chans", in_chans, "-o", out, *more]


def assert_told(run: Outcome, code: int, *words: str, peak_mib: float = PEAK_MIB) -> None:
    """A failure: its exit code, nothing on stdout, a sentence and a hint on stderr, and bounded memory."""
    assert (run.code, run.stdout) == (code, ""), run.stderr
    error, hint = run.stderr.splitlines()
    assert error.startswith("zoo: error: ")
    assert hint.startswith("zoo: hint: ")
    assert len(run.stderr) < 2000
    assert "fault in zoo" not in hint
    for word in words:
        assert word in run.stderr
    assert run.peak_mib < peak_mib


def temporary_files(folder: Path | str = ".") -> list[str]:
    """What zoo left behind."""
    return [name for name in os.listdir(folder) if name.startswith(".zoo-")]


class Job:
    """`zoo adapt-weights` of one source, in a folder of its own where OUT holds something old."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder, self.source = folder, source
        self.out = folder / OUT
        self.out.write_bytes(OLD)
        self.inode = self.out.stat().st_ino

    def run(self, *words: object, **options: Any) -> Outcome:
        """Replace OUT; `options` of `run_zoo`."""
        return run_zoo(*adapt_words(self.source, "--force", *words), cwd=self.folder, **options)

    def assert_refused(self, run: Outcome, code: int, *words: str, **bounds: Any) -> None:
        """It failed as it should, and left everything as it was."""
        assert_told(run, code, *words, **bounds)
        self.assert_untouched()

    def assert_untouched(self) -> None:
        """The old content is still there, and nothing beside it."""
        assert (self.out.read_bytes(), self.out.stat().st_ino) == (OLD, self.inode)
        assert os.listdir(self.folder) == [OUT]

    def assert_done(self, run: Outcome) -> None:
        """OUT is new, and nothing lies beside it."""
        assert (run.code, run.stderr) == (0, "")
        assert self.out.stat().st_ino != self.inode
        assert temporary_files(self.folder) == []


# ---------------------------------------------------------------- system calls


@cache
def can_trace() -> bool:
    """Whether strace can run a program here and change what its system calls give."""
    if shutil.which("strace") is None:
        return False
    probe = ["strace", "-qq", "-o", os.devnull, "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "true"]
    return subprocess.run(probe, capture_output=True).returncode == 0


@cache
def can_mount() -> bool:
    """Whether a file system can be mounted in a namespace of one's own."""
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", tempfile.gettempdir()]
    return subprocess.run(probe, capture_output=True).returncode == 0


class Call(NamedTuple):
    """The `when`-th time that a thread of a program makes a system call."""

    name: str
    when: int

    def injecting(self, fault: str) -> list[str]:
        """strace, to be put before a command. `fault`: "error=EIO", "signal=KILL"."""
        # No --seccomp-bpf: signals are not injected at its stops.
        rule = f"inject={self.name}:{fault}:when={self.when}"
        return ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={self.name}", "-e", rule]


FILE_CALLS = {
    "openat", "close", "newfstatat", "getdents64", "flock", "fallocate", "pread64", "pwrite64", "fadvise64",
    "copy_file_range", "preadv2", "fchmod", "fsync", "rename", "unlink",
}  # fmt: skip
COPY = "preadv2" if os.major(os.stat(tempfile.gettempdir()).st_dev) else "copy_file_range"
"""The call that copies what is unchanged (os.preadv, in the kernel's words), where the tests write to a disk."""
_MARK = "/a mark in the trace"
_WRITE = f"""
import os, sys
from zoo.core.files.atomic_output import atomic_output
from zoo.core.errors import CannotWriteError, InvalidInputError
from zoo.core.files.open_weights import open_weights
from zoo.core.files.safetensors_writer import write_safetensors
from zoo.core.files.stored_tensor import StoredTensor

def stop(number, frame):
    raise SystemExit(128 + number)

import signal
signal.signal(signal.SIGTERM, stop)
with open_weights(sys.argv[1]) as source:
    tensors = [*source.tensors.values()]
    tensors[1] = StoredTensor("new", "U8", (8,), b"computed")
    os.access({_MARK!r}, os.F_OK)
    try:
        with atomic_output(sys.argv[2], force=True) as output:
            write_safetensors(output, tensors, {{}})
            source.require_unchanged()
    except CannotWriteError:
        sys.exit(6)
    except InvalidInputError:
        sys.exit(4)
"""


def write_command(source: Path, out: Path) -> list[str]:
    """A program that only writes: 0 where it did, 6 where it said it could not write, 4 not read, 1 for all else."""
    return [sys.executable, "-P", "-c", _WRITE, str(source), str(out)]


def calls_of_the_write(command: list[str], log: Path) -> list[Call]:
    """Every system call between the start of the write phase of `write_command` and its end, in order."""
    subprocess.run(["strace", "-f", "-qq", "-o", str(log), *command], check=True, timeout=60)
    seen: Counter[tuple[str, str]] = Counter()
    calls: list[Call] = []
    marked = False
    for line in log.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+) +(\w+)\(", line)
        if not found:
            continue
        thread, name = found.groups()
        seen[thread, name] += 1
        if marked and name in FILE_CALLS:
            calls.append(Call(name, seen[thread, name]))
        marked = marked or _MARK in line
    return list(dict.fromkeys(calls))


@contextmanager
def stopped_at(call: Call, command: list[str]) -> Iterator[Callable[[], Outcome]]:
    """Start a command and hold it at a system call; it goes on to its end when the given function is called."""
    reader, writer = os.pipe()
    rule = f"inject={call.name}:signal=STOP:when={call.when}"
    strace = ["strace", "-f", "-qq", "-o", f"/dev/fd/{writer}", "-e", f"trace={call.name}", "-e", rule]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "pass_fds": (writer,)}
    with started([*strace, *command], text=True, **pipes) as process:
        os.close(writer)
        with open(reader) as log:
            pid = next((int(line.split()[0]) for line in log if "stopped by SIGSTOP" in line), 0)

            def go_on() -> Outcome:
                os.kill(pid, signal.SIGCONT)
                log.read()
                stdout, stderr = process.communicate(timeout=60)
                return Outcome(process.returncode, stdout, stderr, 0.0)

            assert pid, f"the command never came to {call}"
            yield go_on


# ---------------------------------------------------------------- file systems


def on_a_small_disk(folder: Path, size: str, *words: object, read_only: bool = False) -> Outcome:
    """Run `zoo WORDS` in a tmpfs of a `size` that holds OUT with the old content.

    What is in it afterwards is copied into `folder`/after.
    """
    script = """
        mount -t tmpfs -o size="$1" none mnt && cp old mnt/{out} || exit 99
        [ -z "$2" ] || mount -o remount,ro mnt || exit 99
        shift 2; cd mnt; "$@"; code=$?; cp -a . ../after; exit $code
    """.replace("{out}", OUT)
    for name in ("mnt", "after"):
        (folder / name).mkdir()
    (folder / "old").write_bytes(OLD)
    prefix = ["unshare", "-rm", "sh", "-c", script, "sh", size, "ro" if read_only else ""]
    return run_zoo(*words, prefix=prefix, cwd=folder)


def without_root(command: Sequence[str] = ()) -> list[str]:
    """A prefix that takes root's power to pass over permissions; the owner of the files stays the same."""
    return [*(["unshare", "-U"] if os.geteuid() == 0 else []), *command]
