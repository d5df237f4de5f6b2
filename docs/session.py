"""The console session of README.md: read, run as it stands, compared, and written anew.

`python docs/session.py` (`make readme`) puts what the commands print now where it differs from the page. In the page
`...` stands for any text; a step whose output still matches is left as it is.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
SECONDS = 300

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Before each command; it leaves the exit code of the one before as it was.
_MARK = "\x1e"
_NEXT = "{ s=$?; printf '\\036'; (exit $s); }"


class Step(NamedTuple):
    """A command, with lines that continue it, and what it prints, `...` standing for any text."""

    command: str
    expected: str


def steps_of(text: str) -> list[Step]:
    """The steps of a page's session, in order; there is one console block. A command stands behind `$ `."""
    return [Step(command, "\n".join(printed)) for command, printed in _parsed(_session(text))]


def run(commands: Sequence[str], folder: Path) -> list[str]:
    """What each command prints on a terminal of 120 columns without colours, where `folder` is the repository.

    The folder needs an environment `.venv` and `tests/data`, the rest the commands make. In the output the
    environment is called `.venv/lib/python3.11` and a path below the folder is relative.
    """
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "tests").mkdir()
    (folder / "tests" / "data").symlink_to(ROOT / "tests" / "data")
    script = "\n".join(f"{_NEXT}\n{command}" for command in commands)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "ZOO_", "PYTHON"))}
    environment |= {"COLUMNS": "120", "LINES": "50", "NO_COLOR": "1", "TERM": "dumb", "HF_HUB_OFFLINE": "1"}
    environment |= dict.fromkeys(("HOME", "HF_HOME", "XDG_STATE_HOME"), str(folder / ".home"))
    main, side = pty.openpty()
    with os.fdopen(main, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )
        os.close(side)
        limit = threading.Timer(SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        limit.start()
        printed = bytearray()
        while part := _read(terminal.fileno()):
            printed += part
        process.wait()
        limit.cancel()
    text = printed.decode().replace("\r\n", "\n")
    packages = "lib/python{}.{}".format(*sys.version_info)
    for shown, instead in (
        (f"{sys.prefix}/{packages}", ".venv/lib/python3.11"),
        (f"{os.path.realpath(folder)}/", ""),
        (f"{folder}/", ""),
    ):
        text = text.replace(shown, instead)
    outputs = [_stripped(output) for output in text.split(_MARK)[1:]]
    return outputs + [""] * (len(commands) - len(outputs))


def matches(expected: str, found: str) -> bool:
    """Whether an output is the expected one, where `...` stands for any text."""
    pattern = re.escape(expected).replace(re.escape("..."), r"(?s:.*)")
    return re.fullmatch(pattern, found) is not None


def with_outputs(text: str, outputs: Sequence[str]) -> str:
    """The page with these outputs, but where a step's own still matches."""
    lines = []
    for step, found in zip(steps_of(text), outputs, strict=True):
        lines += [f"$ {step.command}", step.expected if matches(step.expected, found) else found]
    block = "".join(f"{line}\n" for line in lines if line)
    return text.replace(_session(text), block)


def _session(text: str) -> str:
    (found,) = _BLOCK.findall(text)
    return str(found)


def _parsed(block: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found[-1][0].endswith("\\") and not found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{line}", [])
        else:
            found[-1][1].append(line)
    return found


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # how Linux says that the other side is closed
        return b""


def _stripped(output: str) -> str:
    """Without the spaces with which a table fills its lines."""
    return "\n".join(line.rstrip() for line in output.strip("\n").splitlines())


def main() -> None:
    """Run the session and write down what it prints."""
    page = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        outputs = run([step.command for step in steps_of(page)], Path(folder))
    README.write_text(with_outputs(page, outputs), encoding="utf-8")


if __name__ == "__main__":
    main()
