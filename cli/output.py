"""The only module that prints: results on stdout, everything else on stderr.

Text from a file or a server is printed with control characters escaped, so that a tensor name can neither move the
cursor nor forge a line. Passwords and tokens are removed from all text. `rich` is imported only to draw on a terminal.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO, cast

from zoo.cli.redaction import redacted
from zoo.core.errors import CannotWriteError

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.cli.native_stderr import NativeStderr
    from zoo.core.errors import Place

SCHEMA_VERSION = 1
"""Version of every `--json` document, including errors; increased when a key changes its meaning or is removed."""

SECONDS_BETWEEN_LINES = 30.0
MOST_NAMES = 5
PLACE_CONTEXT = 60
_GAP = 2  # columns between table columns


class Settings(NamedTuple):
    """The settings of the flags that every command has."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False


settings = Settings()


def configure(*, json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
    """Set how this run prints; a command calls it first. ZOO_DEBUG in the environment means `--verbose`."""
    global settings
    settings = Settings(json=json, quiet=quiet, verbose=verbose or bool(os.environ.get("ZOO_DEBUG")))


# ---------------------------------------------------------------- results, on stdout


def on_terminal() -> bool:
    """Whether stdout is a terminal: then tables are drawn, otherwise plain lines are written."""
    return sys.stdout is not None and sys.stdout.isatty()


def document(values: Mapping[str, Any]) -> None:
    """Print the one JSON document of a `--json` run, with `schema_version` first."""
    # ASCII only: JSON's escapes keep control and direction characters off the terminal.
    _write_result(json.dumps({"schema_version": SCHEMA_VERSION, **values}, indent=2))


def lines(texts: Iterable[str]) -> None:
    """Print one line per text."""
    found = [printable(text) for text in texts]
    if found:
        _write_result("\n".join(found))


def tab_separated(rows: Iterable[Sequence[str]]) -> None:
    """Print one line per row, with a tab between its cells; tabs within a cell are escaped."""
    found = ["\t".join(map(printable, row)) for row in rows]
    if found:
        _write_result("\n".join(found))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Container[str] = (), cut: str = "") -> None:
    """Draw a table on the terminal.

    Args:
        columns: the headings.
        rows: one text per column; the first is never cut or wrapped, so that a name can be copied.
        right: headings of right-aligned columns.
        cut: heading of a column whose texts end in an ellipsis if the terminal is too narrow; other columns wrap.
    """
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    drawing = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns:
        justify: Literal["left", "right"] = "right" if heading in right else "left"
        drawing.add_column(heading, justify=justify, no_wrap=heading in (columns[0], cut))
    console = _console()
    texts = [[printable(redacted(cell, is_result=True)) for cell in row] for row in rows]
    if cut in columns:
        texts = _shortened(texts, columns, columns.index(cut), console.width)
    for row in texts:
        # Text, not str: rich reads markup in a str.
        drawing.add_row(*map(Text, row))
    # A terminal too narrow for the first column wraps the lines itself; rich would drop the text.
    needed = Measurement.get(console, console.options.update(width=1 << 16), drawing).minimum
    console.width = max(console.width, needed)
    console.print(drawing)


def _shortened(rows: list[list[str]], columns: Sequence[str], cut: int, width: int) -> list[list[str]]:
    """The rows, with the texts of one column cut to the width that the terminal leaves."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    room = max(width - sum(widths) + widths[cut] - _GAP * (len(columns) - 1), len(columns[cut]))
    return [
        [f"{cell[: room - 1]}…" if i == cut and len(cell) > room else cell for i, cell in enumerate(row)]
        for row in rows
    ]


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    # rich takes NO_COLOR literally and keeps bold.
    return Console(stderr=stderr, color_system=None if os.environ.get("NO_COLOR") else "auto")


def _write_result(text: str) -> None:
    if sys.stdout is None:
        raise CannotWriteError("Standard output is closed.", hint="Redirect it to a file, or to /dev/null.")
    sys.stdout.write(redacted(text, is_result=True) + "\n")
    # Flush now, while a full disk can still be reported.
    sys.stdout.flush()


def flush() -> None:
    """Flush the streams before the process ends without Python's own cleanup."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()


# ---------------------------------------------------------------- everything else, on stderr


def note(text: str) -> None:
    """Report something that does not affect the result; `--quiet` suppresses it."""
    if not settings.quiet:
        _write_message("note", text)


def detail(text: str) -> None:
    """Report a detail for debugging, shown with `--verbose`."""
    if settings.verbose:
        _write_message("detail", text)


def failure(
    *,
    code: int,
    name: str,
    message: str,
    hint: str = "",
    path: str = "",
    traceback: str = "",
    place: Place | None = None,
) -> None:
    """Report why the run failed: a sentence and a hint, or one line of JSON under `--json`."""
    message, hint, path, traceback = map(redacted, (message, hint, path, traceback))
    if settings.json:
        error: dict[str, Any] = {"code": code, "name": name, "message": message, "hint": hint, "path": path}
        error |= {"place": place._asdict() | {"text": redacted(place.text)}} if place else {}
        document = {"schema_version": SCHEMA_VERSION, "error": error | ({"traceback": traceback} if traceback else {})}
        _write_stderr(json.dumps(document))
        return
    if traceback:
        _write_stderr("\n".join(printable(line) for line in traceback.splitlines()))
    _write_message("error", message)
    if place and redacted(place.text) == place.text:
        for line in pointed_out(place):
            _write_stderr(f"zoo: {line}")
    if hint:
        _write_message("hint", hint)


def _write_message(kind: str, text: str) -> None:
    text = redacted(text)
    # Under --json every line of stderr is a JSON document, so that a program can parse them all.
    _write_stderr(json.dumps({kind: text}) if settings.json else f"zoo: {kind}: {printable(text)}")


def _write_stderr(text: str) -> None:
    # If stderr is closed, the exit code still reports the failure.
    if sys.stderr is None:
        return
    stream = getattr(sys.stderr, "stream", sys.stderr)  # below the stream that libraries write to
    if _native is not None:
        stream = _native.stream or stream
    with suppress(OSError):
        stream.write(text + "\n")
        stream.flush()


_native: NativeStderr | None = None


def catch_native_stderr() -> None:
    """Under `--json`, report each line that a C library writes to file descriptor 2, in any process, as a note."""
    global _native
    if settings.json and _native is None:
        from zoo.cli.native_stderr import NativeStderr

        with suppress(OSError):  # otherwise the lines stay as they are
            _native = NativeStderr(note)


def release_native_stderr() -> None:
    """Undo `catch_native_stderr`."""
    global _native
    if _native is not None:
        _native.close()
        _native = None


class LibraryStderr:
    """sys.stderr for all code except this module: secrets are removed, and under `--json` each line is a note.

    Libraries write to it through `logging`, `warnings` and tracebacks of threads. Other attributes are those of the
    wrapped `stream`.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._line = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write the text; under `--json`, note each completed line."""
        if settings.json:
            *lines, self._line = (self._line + text).replace("\r", "\n").split("\n")
            for line in filter(str.strip, lines):
                note(line)
        else:
            self.stream.write(redacted(text))
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        """Write the texts one after another."""
        for text in texts:
            self.write(text)

    def flush(self) -> None:
        """Write an unfinished line too."""
        if self._line:
            self.write("\n")
        with suppress(OSError):
            self.stream.flush()


@contextmanager
def progress(total: int | None, label: str) -> Iterator[Callable[[int], None]]:
    """Show the progress of a long job: a bar if stderr is a terminal, otherwise a line every 30 seconds.

    Args:
        total: number of steps, None if unknown.
        label: what is being done, e.g. `"Reading images"`.

    Yields:
        `advance(steps)`, to be called when steps are done.
    """
    if settings.quiet or settings.json or sys.stderr is None:
        yield _ignore
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _progress_bar(total, label) as advance:
            yield advance
    else:
        yield _progress_lines(total, label)


def _ignore(_steps: int) -> None:
    """Ignore progress that is not shown."""


@contextmanager
def _progress_bar(total: int | None, label: str) -> Iterator[Callable[[int], None]]:
    from rich import progress as rich

    class Rate(rich.ProgressColumn):
        def render(self, task: rich.Task) -> str:
            return _rate(task.finished_speed or task.speed or 0.0)

    columns: list[rich.ProgressColumn] = [rich.TextColumn("{task.description}", markup=False), rich.BarColumn()]
    columns += [rich.MofNCompleteColumn(), Rate(), rich.TimeRemainingColumn()]
    # rich would redirect stdout to stderr meanwhile.
    with rich.Progress(*columns, console=_console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(printable(redacted(label)), total=total)
        yield lambda steps: bar.advance(task, steps)


def _progress_lines(total: int | None, label: str) -> Callable[[int], None]:
    done, last_done, last = 0, 0, time.monotonic()

    def advance(steps: int) -> None:
        nonlocal done, last_done, last
        done += steps
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            # Measure since the previous line: what was done before the run began says nothing about its pace.
            rate = (done - last_done) / (now - last)
            last_done, last = done, now
            parts = [f"{label}: {done}" + ("" if total is None else f" of {total}"), _rate(rate)]
            if total is not None and rate:
                parts.append(f"{_duration((total - done) / rate)} left")
            _write_message("progress", ", ".join(parts))

    return advance


def _rate(per_second: float) -> str:
    return f"{per_second:.3g}/s" if per_second < 999.5 else f"{per_second:.0f}/s"


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02:05`, `2:05`."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


# ---------------------------------------------------------------- text and streams


def printable(text: str) -> str:
    r"""`text` with everything escaped that a terminal would act on: `\x1b`, `\u202e`, `\n`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def pointed_out(place: Place) -> tuple[str, str]:
    """The text of a place on one line, and under it a line with carets below the place.

    Of a long text the surroundings of the place are shown.
    """
    begin = max(0, place.start - PLACE_CONTEXT)
    end = max(place.stop, place.start + 1) + PLACE_CONTEXT
    before, after = "…" * (begin > 0), "…" * (end < len(place.text))
    left = before + printable(place.text[begin : place.start])
    inside = printable(place.text[place.start : place.stop])
    right = printable(place.text[place.stop : end]) + after
    return "  " + left + inside + right, "  " + " " * _columns(left) + "^" * max(1, _columns(inside))


def _columns(text: str) -> int:
    """Columns of a terminal that the text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def count(number: int) -> str:
    """A count to three digits for a reader: 21797672 is `21.8M`."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        # 999.5 and more of the smaller unit would be printed as 1e+03.
        if number >= 0.9995 * size:
            return f"{number / size:.3g}{unit}" if number < 999.5 * size else f"{number / size:.0f}{unit}"
    return str(number)


def tensor_names(names: Sequence[str]) -> str:
    """A few names in full, or for many their number and the first; `--verbose` lists all."""
    return (
        ", ".join(names)
        if len(names) <= MOST_NAMES or settings.verbose
        else f"{len(names)} tensors, the first {names[0]}"
    )


def prepare_streams() -> None:
    """Make printing safe in any environment: with closed streams, or a locale without Unicode."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # Otherwise the next opened file gets this number, and a stray message ends up in it.
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is not None:
        sys.stderr = cast(TextIO, LibraryStderr(sys.stderr))


def reader_is_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more."""
    import select

    if sys.__stdout__ is None:
        return False
    poll = select.poll()
    poll.register(sys.__stdout__.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
