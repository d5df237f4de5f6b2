"""An export by one process for each of several devices. The engine is arithmetic, no torch is loaded.

To a process of arithmetic its device is a name that tells what it has to do.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import test_export_resume as plain

from zoo.core.errors import CannotWriteError, InvalidInputError, NotFoundError, PartialError, UsageError, ZooError
from zoo.core.export import device_processes
from zoo.core.export.device_processes import run_on_devices
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.run import ExportJob, pending_shards, report_of

from processes import SECONDS, started

NUM_SHARDS = 6
GATES = ("begun", "open", "shut")


class OddError(Exception):
    """An exception that cannot be sent to another process."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


class Request(NamedTuple):
    """An export whose processes do as their device is called, and say in `log` what they did."""

    log: str
    device: str = ""
    threads: int = 0

    def for_this_process(self, device: str, threads: int) -> Request:
        return self._replace(device=device, threads=threads)

    def open(self) -> ExportJob:
        self.note("threads", self.threads)
        if self.device == "absent":
            raise NotFoundError("There is no file.", hint="Look for it.", path="file")
        if self.device == "odd":
            raise OddError("this", "that")
        warnings.warn("The parent has said this.", stacklevel=1)
        plan = plain.make_plan(weights="bb" if self.device == "changed" else "aa")
        return ExportJob(plan, plain.decode, self.compute, self.compute)

    def compute(self, images: Any) -> Iterator[Any]:
        for result in plain.compute(images):
            self.act()
            self.note("computed", 1)
            yield result

    def act(self) -> None:
        if self.device == "exit":
            os._exit(7)
        if self.device in ("SIGKILL", "SIGSEGV"):
            os.kill(os.getpid(), signal.Signals[self.device])
        if self.device == "bug":
            raise KeyError("a mistake in the model")
        if self.device == "robbed":
            FeatureFolder(Path(self.log) / "out", plain.make_plan(weights="bb"), force=True)
        if self.device.startswith("warns"):
            warnings.warn("This is odd.", stacklevel=1)
        if self.device == "slow":  # until others have done all the rest
            self.open_gate("begun")
            self.await_gate("open")
        if self.device in ("late", "exits late"):  # until others have a shard
            self.await_gate("begun")
        if self.device == "exits late":
            os._exit(7)
        if self.device == "deaf":  # as deep in a library, which a signal does not call back
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.open_gate("begun")
            self.await_gate("shut")
        if self.device.startswith("hangs"):
            os.write(1, f"{os.getpid()}\n".encode())
            self.await_gate("shut")

    def note(self, name: str, value: object) -> None:
        with (Path(self.log) / f"{self.device}.{name}").open("a") as file:
            file.write(f"{value}\n")

    def noted(self, name: str) -> list[str]:
        path = Path(self.log) / name
        return path.read_text().splitlines() if path.exists() else []

    def open_gate(self, name: str) -> None:
        gate = os.open(Path(self.log) / name, os.O_RDWR)
        os.write(gate, b".")
        os.close(gate)

    def await_gate(self, name: str) -> None:
        gate = os.open(Path(self.log) / name, os.O_RDWR)
        assert select.select([gate], [], [], SECONDS)[0]
        os.close(gate)


@pytest.fixture
def request_(tmp_path: Path) -> Iterator[Request]:
    for name in GATES:
        os.mkfifo(tmp_path / name)
    # A pipe loses what is in it when nobody has it open.
    held = [os.open(tmp_path / name, os.O_RDWR) for name in GATES]
    yield Request(str(tmp_path))
    for gate in held:
        os.close(gate)


@pytest.fixture
def folder(tmp_path: Path) -> FeatureFolder:
    return FeatureFolder(tmp_path / "out", plain.make_plan())


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of one process."""
    out = tmp_path_factory.mktemp("clean")
    plain.export(out)
    return plain.content(out)


def run(request: Request, folder: FeatureFolder, *devices: str, **options: Any) -> list[int]:
    """Compute what is pending; return the progress that was told."""
    done: list[int] = []
    pending = pending_shards(folder, range(NUM_SHARDS))
    try:
        run_on_devices(request, folder, pending, devices=devices, **{"on_progress": done.append, **options})
    finally:
        assert not multiprocessing.active_children()
    return done


def test_two_processes_give_the_bytes_of_one(request_: Request, folder: FeatureFolder, clean: dict[str, bytes]) -> None:
    assert sum(run(request_, folder, "cpu", "cpu")) == plain.NUM_INPUTS
    report = report_of(folder, range(NUM_SHARDS))
    assert (report.images, report.num_failed, report.complete, report.changed) == (21, 2, True, True)
    assert plain.content(folder.path) == clean
    # Each process has its share of the cores.
    assert request_.noted("cpu.threads") == [str(max(1, device_processes._cores() // 2))] * 2
    assert len(request_.noted("cpu.computed")) == plain.NUM_INPUTS

    # What is there is not computed again, and no process is started for it.
    assert run(request_, folder, "cpu", "cpu") == []
    assert len(request_.noted("cpu.threads")) == 2


def test_the_same_shards_again_change_nothing(request_: Request, clean: dict[str, bytes], tmp_path: Path) -> None:
    plain.export(tmp_path / "out")
    again = FeatureFolder(tmp_path / "out", plain.make_plan())
    run_on_devices(request_, again, [2, 5], devices=["cpu", "cpu"])
    assert not again.changed
    report_of(again, range(NUM_SHARDS))
    assert plain.content(again.path) == clean


def test_a_faster_device_computes_more(request_: Request, folder: FeatureFolder, clean: dict[str, bytes]) -> None:
    done = 0

    def advance(inputs: int) -> None:
        nonlocal done
        done += inputs
        if done == plain.NUM_INPUTS - 4:  # all but the shard that the slow one has
            request_.open_gate("open")

    run(request_, folder, "slow", "late", on_progress=advance)
    assert len(request_.noted("slow.computed")) == 4
    assert len(request_.noted("late.computed")) == plain.NUM_INPUTS - 4
    assert done == plain.NUM_INPUTS
    report_of(folder, range(NUM_SHARDS))
    assert plain.content(folder.path) == clean


def test_no_more_processes_than_shards(request_: Request, folder: FeatureFolder) -> None:
    run_on_devices(request_, folder, [3], devices=["cpu", "absent"])
    assert request_.noted("cpu.threads") == [str(device_processes._cores())]
    assert [shard for shard in range(NUM_SHARDS) if folder.is_done(shard)] == [3]


@pytest.mark.parametrize(
    ("device", "end"),
    [
        ("SIGKILL", "was ended by SIGKILL, often for lack of memory."),
        ("SIGSEGV", "was ended by SIGSEGV."),
        ("exit", "ended with code 7."),
    ],
)
def test_a_process_that_dies_ends_the_run(
    request_: Request, folder: FeatureFolder, clean: dict[str, bytes], device: str, end: str
) -> None:
    with pytest.raises(PartialError) as raised:
        run(request_, folder, "hangs", device)  # the one that hangs is ended too
    assert raised.value.message == f"The process for the device {device} {end}"
    assert raised.value.hint == "Run the same command again: shards that are done are passed over."
    assert not list(folder.path.glob(".zoo-*"))
    assert not (folder.path / "manifest.jsonl").exists()
    run(request_, folder, "cpu", "cpu")
    report_of(folder, range(NUM_SHARDS))
    assert plain.content(folder.path) == clean


def test_a_process_that_does_not_end_is_killed(
    request_: Request, folder: FeatureFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_processes, "CLOSE_SECONDS", 0.5)
    with pytest.raises(PartialError, match="exits late ended with code 7"):
        run(request_, folder, "deaf", "exits late")


@pytest.mark.parametrize(
    ("device", "kind", "message", "hint"),
    [
        ("absent", NotFoundError, "There is no file.", "Look for it."),
        ("changed", UsageError, "The process for the device changed finds other inputs, weights or settings", "Leave"),
        ("robbed", CannotWriteError, "Another run has replaced the export", "Run one at a time."),
    ],
)
def test_an_error_of_a_process_is_raised_as_it_is(
    request_: Request, folder: FeatureFolder, device: str, kind: type[ZooError], message: str, hint: str
) -> None:
    # Another process that only starts after the robbery would find it, too, in other words.
    others = () if device == "robbed" else ("hangs",)
    with pytest.raises(kind) as raised:
        run(request_, folder, *others, device)
    assert type(raised.value) is kind
    assert raised.value.message.startswith(message)
    assert raised.value.hint.startswith(hint)
    assert raised.value.path == {"absent": "file", "robbed": str(folder.path)}.get(device, "")


def test_stop_ends_all_at_the_first_unreadable_input(request_: Request, folder: FeatureFolder) -> None:
    with pytest.raises(InvalidInputError, match=r"0(04|17)\.png: cut off") as raised:
        run(request_, folder, "cpu", "cpu", on_error="stop")
    assert raised.value.exit_code == 4
    with pytest.raises(UsageError, match="skip or stop"):
        run(request_, folder, "cpu", on_error="ignore")


def test_a_bug_is_raised_with_the_place_where_it_is(request_: Request, folder: FeatureFolder) -> None:
    with pytest.raises(KeyError, match="a mistake in the model") as raised:
        run(request_, folder, "bug")
    (note,) = raised.value.__notes__
    assert note.startswith("The process for the device bug has raised it:\nTraceback")
    assert "in act" in note
    # One that cannot be sent is told.
    with pytest.raises(RuntimeError, match=r"OddError: this and that\n(.*\n)*.*in open"):
        run(request_, folder, "odd")


def test_a_warning_of_several_processes_is_given_once(request_: Request, folder: FeatureFolder) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(request_, folder, "warns 1", "warns 2")
    assert [str(warning.message) for warning in caught] == ["This is odd."]


def test_an_export_on_no_device_is_refused(request_: Request, folder: FeatureFolder) -> None:
    with pytest.raises(UsageError, match="at least 1 device"):
        run(request_, folder)


# ---------------------------------------------------------------- the end of the parent

PROGRAM = """
import sys
from pathlib import Path
from test_device_processes import FeatureFolder, Request, plain, run_on_devices
from zoo.cli.errors import stop_on_signals

if __name__ == "__main__":
    stop_on_signals()
    folder = FeatureFolder(Path(sys.argv[1]) / "out", plain.make_plan())
    try:
        run_on_devices(Request(sys.argv[1]), folder, range(6), devices=["hangs 1", "hangs 2"])
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for a stranger's process needs Linux")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_no_process_outlives_its_parent(request_: Request, tmp_path: Path, number: signal.Signals, code: int) -> None:
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    options: dict[str, Any] = {"env": {**os.environ, "PYTHONPATH": path}, "start_new_session": True}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-P", "-c", PROGRAM, tmp_path]
    with started(command, **pipes, **options) as parent:
        children = [os.pidfd_open(int(parent.stdout.readline())) for _ in range(2)]
        try:
            # A terminal sends these to all of its processes.
            whole = number in (signal.SIGINT, signal.SIGHUP)
            (os.killpg if whole else os.kill)(parent.pid, number)
            for child in children:
                assert select.select([child], [], [], SECONDS)[0]
        finally:
            for child in children:
                os.close(child)
        _, told = parent.communicate(timeout=SECONDS)
    assert (parent.returncode, told) == (code, "")
    assert not list((tmp_path / "out").glob(".zoo-*"))
