"""How a run ends: exit codes, sentences, signals, broken pipes, full disks, closed streams."""

from __future__ import annotations

import errno
import json
import os
import pty
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from zoo.cli import errors, output
from zoo.core.errors import (
    CannotWriteError,
    InvalidInputError,
    NotFoundError,
    PartialError,
    UnknownModelError,
    UsageError,
    ZooError,
)

from processes import read_terminal, started

TOY = str(Path(__file__).parents[1] / "toy_registry.py")

PROGRAM = """\
import os, sys, time
import typer
from zoo.cli import errors, output

app = typer.Typer(rich_markup_mode=None)

@app.command()
def many():
    for number in range(100_000):
        output.lines([f"line {number}"])

@app.command()
def wait():
    try:
        output.lines(["ready"])
        while True:
            time.sleep(0.05)  # not signal.pause(): a signal that comes just before it would be waited for again
    finally:
        output.lines(["cleaned up"])

@app.command()
def network():
    raise BrokenPipeError(32, "Broken pipe")

@app.command()
def work():
    with output.progress(3, "Reading [red]images") as advance:
        advance(2)
        output.lines(["result"])

@app.command()
def libraries(json: bool = False, quiet: bool = False):
    import logging, threading, warnings
    logging.getLogger("urllib3").warning("Retrying https://bob:hunter22@host/x?sig=abc")
    warnings.warn("old\\n  name", FutureWarning)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start(); thread.join()
    sys.stderr.write("\\r 10%"); sys.stderr.write("\\r 20%"); sys.stderr.flush()
    sys.stderr.writelines(["one\\n", "two"])
    print("three", file=sys.stderr)
    assert sys.stderr.isatty() is False and sys.stderr.fileno() == 2
    output.lines(["result"])

@app.command()
def odd():
    output.lines(["caf\\u00e9 \\udcff"])

output.prepare_streams()
errors.stop_on_signals()
sys.exit(errors.run(app, sys.argv[1:]))
"""


def program(*words: str) -> list[str]:
    return [sys.executable, "-P", "-c", PROGRAM, *words]


@pytest.fixture
def run_raising(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command that raises the given exception; its exit code, stdout and stderr."""

    def run(error: BaseException, *flags: str) -> tuple[int, str, str]:
        app = typer.Typer(rich_markup_mode=None)

        @app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
        def fail() -> None:
            raise error

        code = errors.run(app, flags)
        return code, *capsys.readouterr()

    return run


# ---------------------------------------------------------------- exceptions


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZooError("Something is wrong."), 1),
        (UsageError("Something is wrong."), 2),
        (PartialError("Something is wrong."), 3),
        (InvalidInputError("Something is wrong."), 4),
        (NotFoundError("Something is wrong."), 5),
        (UnknownModelError("Something is wrong."), 5),
        (CannotWriteError("Something is wrong."), 6),
    ],
)
def test_a_zoo_error_is_its_sentence_and_its_code(run_raising: Callable, error: ZooError, code: int):
    assert run_raising(error) == (code, "", "zoo: error: Something is wrong.\n")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out.bin"), 6, "out.bin could not be written: No space left"),
        (OSError(errno.EROFS, "Read-only file system"), 6, "Read-only file system"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "in.bin"), 5, "in.bin was not found"),
        (
            PermissionError(errno.EACCES, "Permission denied", "in.bin"),
            4,
            "in.bin could not be used: Permission denied",
        ),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), 5, "Connection reset by peer"),
        (TimeoutError(), 5, "network did not answer"),
        (MemoryError(), 1, "not enough memory"),
        (ImportError("libblas.so: failed to map segment from shared object"), 1, "not enough memory"),
        (ValueError("boom"), 1, "Unexpected ValueError: boom"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (SystemExit(143), 143, "Terminated."),
    ],
)
def test_other_exceptions_become_a_sentence_too(run_raising: Callable, error: BaseException, code: int, words: str):
    got, out, err = run_raising(error)
    assert (got, out) == (code, "")
    assert err.startswith("zoo: error: ")
    assert words in err
    assert "Traceback" not in err


def test_a_hint_is_a_line_of_its_own(run_raising: Callable):
    assert run_raising(NotFoundError("Not there.", hint="Look elsewhere."))[2] == (
        "zoo: error: Not there.\nzoo: hint: Look elsewhere.\n"
    )


def test_json_error_is_one_line_on_stderr(run_raising: Callable):
    code, out, err = run_raising(InvalidInputError("Bad\nfile.", hint="Get another.", path="a.bin"), "--json")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert json.loads(err) == {
        "schema_version": 1,
        "error": {"code": 4, "name": "invalid_input", "message": "Bad\nfile.", "hint": "Get another.", "path": "a.bin"},
    }


def test_verbose_shows_the_traceback(run_raising: Callable):
    _, out, err = run_raising(ValueError("boom"), "--verbose")
    assert out == ""
    assert err.startswith("Traceback")
    assert "zoo: error: Unexpected ValueError: boom" in err
    assert "Traceback" in json.loads(run_raising(ValueError("boom"), "--verbose", "--json")[2])["error"]["traceback"]


def test_a_traceback_is_escaped_too(run_raising: Callable):
    assert "\x1b" not in run_raising(ValueError("a\x1b[31m"), "--verbose")[2]


def test_zoo_debug_is_verbose(run_raising: Callable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZOO_DEBUG", "1")
    assert run_raising(ValueError("boom"))[2].startswith("Traceback")


def test_words_after_a_double_dash_are_no_flags(run_raising: Callable):
    assert run_raising(NotFoundError("Not there."), "--", "--json")[2] == "zoo: error: Not there.\n"


def test_a_hostile_name_can_neither_forge_a_line_nor_reach_the_terminal(run_raising: Callable):
    hostile = "a\x1b[31m\u202eb\nzoo: error: c[bold]"
    err = run_raising(InvalidInputError(f"The tensor {hostile} is wrong."))[2]
    assert err == "zoo: error: The tensor a\\x1b[31m\\u202eb\\nzoo: error: c[bold] is wrong.\n"


# ---------------------------------------------------------------- usage errors of the parser


def test_a_usage_error_is_plain_text_in_a_ci_log():
    env = os.environ | {"GITHUB_ACTIONS": "1", "FORCE_COLOR": "1"}
    run = subprocess.run([sys.executable, TOY, "list", "--filtre", "x"], capture_output=True, text=True, env=env)
    assert (run.returncode, run.stdout) == (2, "")
    error, advice = run.stderr.splitlines()
    assert error.startswith("zoo: error: No such option: --filtre")
    assert advice == "zoo: hint: `zoo list --help` shows the options and an example."


def test_a_usage_error_is_json_where_that_was_asked_for():
    run = subprocess.run([sys.executable, TOY, "list", "--json", "--bogus"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    error = json.loads(run.stderr)["error"]
    assert (error["code"], error["name"]) == (2, "usage")
    assert "--bogus" in error["message"]


# ---------------------------------------------------------------- signals and streams


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_lets_the_command_clean_up(number: signal.Signals, code: int):
    with started(program("wait"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, "cleaned up\n")
    assert err.startswith("zoo: error: ")
    assert err.count("\n") == 1


def test_nohup_is_respected():
    with started(["nohup", *program("wait")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 143


def test_a_reader_that_leaves_early_is_no_failure():
    with started(program("many"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "line 0\n"
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_help_for_a_reader_that_has_left():
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run([sys.executable, TOY, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_connection_that_breaks_is_not_taken_for_a_reader_that_leaves():
    run = subprocess.run(program("network"), capture_output=True, text=True)
    assert run.returncode == 6
    assert "Broken pipe" in run.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["--help"]])
def test_a_full_disk_behind_stdout(words: list[str]):
    with open("/dev/full", "w") as full:
        run = subprocess.run([sys.executable, TOY, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 6
    assert "No space left on device" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Exception ignored" not in run.stderr


def test_closed_stdout_is_told():
    run = subprocess.run(["sh", "-c", '"$@" >&-', "sh", sys.executable, TOY, "list"], stderr=subprocess.PIPE, text=True)
    assert (run.returncode, run.stderr.splitlines()[0]) == (6, "zoo: error: Standard output is closed.")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_a_stderr_that_takes_nothing_leaves_stdout_and_the_code_alone(redirection: str):
    command = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, TOY, "info", "nothing"]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    assert (run.returncode, run.stdout) == (5, "")


def test_a_locale_without_unicode_prints_escapes():
    env = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    run = subprocess.run(program("odd"), capture_output=True, text=True, env=env)
    assert (run.returncode, run.stdout, run.stderr) == (0, "caf\\xe9 \\udcff\n", "")


# ---------------------------------------------------------------- what libraries write


def test_what_libraries_write_to_stderr_is_json_where_that_was_asked_for():
    run = subprocess.run(program("libraries", "--json"), capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "result\n")
    notes = [json.loads(line) for line in run.stderr.splitlines()]
    assert {key for note in notes for key in note} == {"note"}
    told = [note["note"] for note in notes]
    assert told[0] == "Retrying https://host/x?***"
    assert told[1] == "old name"
    assert "ZeroDivisionError: division by zero" in told
    assert told[-4:] == [" 10%", " 20%", "one", "twothree"]


def test_what_libraries_write_to_stderr_has_no_secret_either():
    run = subprocess.run(program("libraries"), capture_output=True, text=True)
    assert run.stderr.startswith("Retrying https://host/x?***\nzoo: note: old name\n")
    assert run.stderr.endswith("\n 10%\n 20%one\ntwothree\n")
    assert "hunter22" not in run.stderr


def test_quiet_leaves_out_what_libraries_say_under_json():
    run = subprocess.run(program("libraries", "--json", "--quiet"), capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "result\n", "")


# ---------------------------------------------------------------- notes and progress


def warn_of_an_old_name(**_arguments: object) -> None:
    warnings.warn("'old' is an old name; use 'new'", FutureWarning, stacklevel=2)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "zoo: note: 'old' is an old name; use 'new'\n"),
        (["--quiet"], ""),
        (["--json"], "{\"note\": \"'old' is an old name; use 'new'\"}\n"),
    ],
)
def test_a_warning_becomes_a_note(capsys: pytest.CaptureFixture[str], flags: list[str], expected: str):
    assert errors.run(warn_of_an_old_name, flags) == 0
    assert capsys.readouterr() == ("", expected)


def test_progress_of_a_long_job_is_a_line_every_30_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    clock = iter([0.0, 10.0, 31.0, 60.0, 71.0])
    monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    output.configure()
    with output.progress(10_000, "Reading images") as advance:
        for _ in range(4):
            advance(31)
    # Steps end at 10, 31, 60 and 71 seconds: the second and the last one are due, and tell of the time between.
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "zoo: progress: Reading images: 62 of 10000, 2/s, 1:22:49 left",
        "zoo: progress: Reading images: 124 of 10000, 1.55/s, 1:46:12 left",
    ]


def test_progress_of_unknown_length_has_no_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    clock = iter([0.0, 31.0])
    monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    output.configure()
    with output.progress(None, "Reading images") as advance:
        advance(62_000)
    assert capsys.readouterr().err == "zoo: progress: Reading images: 62000, 2000/s\n"


@pytest.mark.parametrize(("term", "drawn"), [("xterm", True), ("dumb", False)])
def test_progress_is_a_bar_on_a_terminal_that_can_draw_one(term: str, drawn: bool):
    master, slave = pty.openpty()
    command, env = program("work"), os.environ | {"TERM": term}
    with started(command, stdout=subprocess.PIPE, stderr=slave, env=env) as process:
        os.close(slave)
        written = read_terminal(master)
        assert process.stdout is not None
        assert process.stdout.read() == b"result\n"
    assert process.returncode == 0
    assert (b"Reading [red]images" in written) is drawn


def test_progress_in_a_pipe_is_silent():
    run = subprocess.run(program("work"), capture_output=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"result\n", b"")


def test_many_names_are_counted_and_all_told_when_asked_for():
    names = [f"layer.{number}" for number in range(6)]
    output.configure()
    assert output.tensor_names(names) == "6 tensors, the first layer.0"
    output.configure(verbose=True)
    assert output.tensor_names(names) == "layer.0, layer.1, layer.2, layer.3, layer.4, layer.5"


def test_a_number_is_told_as_a_person_reads_it():
    assert [output.count(n) for n in (7, 999, 1_000, 21_797_672, 999_999_999, 3_664_362_496)] == [
        "7",
        "999",
        "1k",
        "21.8M",
        "1G",
        "3.66G",
    ]
