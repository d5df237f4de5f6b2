"""Report every way a run can end: one sentence on stderr, a hint, and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

import typer

from zoo.cli import output
from zoo.cli.groups import is_given
from zoo.core.errors import ExitCode, Place, ZooError

_STOPPED = {
    ExitCode.HANGUP: "The terminal was closed.",
    ExitCode.INTERRUPTED: "Interrupted.",
    ExitCode.TERMINATED: "Terminated.",
}

GRACE_SECONDS = 3.0
"""How long a run may take to end by itself after a signal."""

_is_own_process = False

_WRITE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EPIPE, errno.EBADF}

# On a CPU, torch has no exception class for it, and neither has the loader of shared libraries.
_OUT_OF_MEMORY = ("can't allocate memory", "failed to map segment from shared object")

_NO_HOME = "Could not determine home directory"  # pathlib's words


class Failure(NamedTuple):
    """What is reported about a run that failed."""

    code: ExitCode
    message: str
    hint: str = ""
    path: str = ""
    place: Place | None = None


def run(app: Callable[..., Any], args: Sequence[str]) -> int:
    """Run the command line and return its exit code; every failure has been reported by then.

    Args:
        app: the Typer application.
        args: the words after `zoo`.
    """
    # Set the flags before parsing: a usage error obeys them too.
    flags = args[: args.index("--")] if "--" in args else args
    output.configure(json=is_given("json", flags), quiet=is_given("quiet", flags), verbose=is_given("verbose", flags))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = app(args=args, prog_name="zoo", standalone_mode=False) or ExitCode.DONE
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            # Typer ends the run in this way. A reader that has had enough (`| head -1`) is not a failure.
            if output.reader_is_gone():
                return ExitCode.DONE
            return _report(stop.__context__)
        code = stop.code if isinstance(stop.code, int) else ExitCode.UNEXPECTED
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except Exception as error:
        return _report(error)
    finally:
        output.release_native_stderr()
    if code in _STOPPED:
        output.failure(code=code, name=ExitCode(code).name.lower(), message=_STOPPED[ExitCode(code)])
    return int(code)


def _report(error: Exception) -> int:
    failure = describe(error)
    trace = ""
    if output.settings.verbose:
        import traceback

        trace = "".join(traceback.format_exception(error))
    output.failure(
        code=failure.code,
        name=failure.code.name.lower(),
        message=failure.message,
        hint=failure.hint,
        path=failure.path,
        place=failure.place,
        traceback=trace,
    )
    return failure.code


def describe(error: Exception) -> Failure:
    """The sentence, hint and exit code for an exception."""
    if isinstance(error, ZooError):
        return Failure(error.exit_code, error.message, error.hint, error.path, error.place)
    if isinstance(error, typer.TyperException):
        return _describe_usage(error)
    if isinstance(error, typer.Abort):
        return Failure(ExitCode.INTERRUPTED, "Interrupted.")
    if isinstance(error, OSError):
        return _describe_os_error(error)
    if isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
        return Failure(
            ExitCode.UNEXPECTED, "There is not enough memory for this.", "Close other programs, or do less at once."
        )
    if isinstance(error, RuntimeError) and _NO_HOME in str(error):
        return Failure(
            ExitCode.NOT_FOUND, "There is no home directory that ~ stands for.", "Set HOME, or write the path in full."
        )
    return Failure(
        ExitCode.UNEXPECTED,
        f"Unexpected {type(error).__name__}: {error}",
        "This is a fault in zoo. The same command with --verbose shows where it happened.",
    )


def _describe_usage(error: typer.TyperException) -> Failure:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "zoo"
    # Typer lists choices over several lines, and pydantic says twice that a value is wrong.
    message = " ".join(error.format_message().split()).replace("Value error, ", "")
    return Failure(ExitCode.USAGE, message, f"`{command} --help` shows the options and an example.")


def _describe_os_error(error: OSError) -> Failure:
    reason = error.strerror or str(error)
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    if error.errno in _WRITE_ERRORS:
        subject = path or "The output"
        return Failure(
            ExitCode.CANNOT_WRITE, f"{subject} could not be written: {reason}.", "Choose another place.", path
        )
    if isinstance(error, ConnectionError | TimeoutError):
        return Failure(
            ExitCode.NOT_FOUND, f"The network did not answer: {reason}.", "Try again, or work with a local file."
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Failure(ExitCode.NOT_FOUND, f"{path or 'A file'} was not found: {reason}.", "Check the path.", path)
    return Failure(ExitCode.INVALID_INPUT, f"{path or 'A file'} could not be used: {reason}.", "Check the path.", path)


def _show_warning(message: Warning | str, *_details: Any, **_more: Any) -> None:
    output.note(" ".join(str(message).split()))


def stop_on_signals() -> None:
    """Turn SIGTERM and SIGHUP into SystemExit, so that temporary files are removed on the way out."""
    global _is_own_process
    _is_own_process = True

    def stop(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        # Leave an ignored signal ignored: nohup relies on it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


@contextmanager
def end_soon_after_signals(seconds: float = GRACE_SECONDS) -> Iterator[None]:
    """Within the block, end this process some seconds after SIGINT, SIGTERM or SIGHUP unless it ends by itself.

    Python acts on a signal only when the main thread returns from a library call. Another thread sees the signal at
    once. Like a killed run, it leaves temporary files, which the next run removes. It does nothing if the process
    belongs to another program, or outside the main thread.
    """
    if not _is_own_process or threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_end_after_signal, args=(reader, seconds), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)  # this ends the thread, unless a signal has come


def _end_after_signal(reader: int, seconds: float) -> None:
    """Wait for a signal that ends a run, then give the run its time."""
    while numbers := os.read(reader, 64):
        ending = [number for number in numbers if number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        if ending:
            time.sleep(seconds)
            code = ExitCode(128 + ending[0])
            output.failure(code=code, name=code.name.lower(), message=_STOPPED[code])
            output.flush()
            os._exit(code)
    os.close(reader)
