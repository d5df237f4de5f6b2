"""The words before a command and instead of one: groups alone, `help`, flags that all commands have; and their help."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import typer

from zoo.cli import errors, output
from zoo.cli.app import app
from zoo.cli.help_sections import HEADINGS

import toy_registry

WIDTH = 80


class Run(NamedTuple):
    code: int
    stdout: str
    stderr: str


Zoo = Callable[..., Run]


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Zoo:
    """Run `zoo <words>` in this process over a made-up registry."""
    toy_registry.install(monkeypatch.setattr)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: str) -> Run:
        return Run(errors.run(app, words), *capsys.readouterr())

    return run


def commands(group: Any = None, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command as it is typed, and what Typer made of it."""
    group = typer.main.get_command(app) if group is None else group
    yield before, group
    for name in getattr(group, "commands", ()):
        yield from commands(group.commands[name], (*before, name))


COMMANDS = dict(commands())


# ---------------------------------------------------------------- instead of a command


@pytest.mark.parametrize("group", [(), ("cache",)])
@pytest.mark.parametrize("flags", [(), ("-q",), ("--json", "-v")])
def test_a_group_alone_shows_its_help(zoo: Zoo, group: tuple[str, ...], flags: tuple[str, ...]):
    expected = zoo(*group, "--help")
    assert expected.stdout.startswith("Usage: zoo")
    assert zoo(*group, *flags) == (0, expected.stdout, "")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_a_command_is_its_own(zoo: Zoo, words: tuple[str, ...]):
    expected = zoo(*words, "--help")
    assert (expected.code, expected.stdout.split("[")[0].strip()) == (0, f"Usage: zoo {' '.join(words)}".strip())
    assert zoo("help", *words) == expected
    assert zoo(*words, "-h") == expected


def test_help_within_a_group(zoo: Zoo):
    assert zoo("cache", "help", "verify") == zoo("cache", "verify", "--help")


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version(zoo: Zoo, flag: str):
    run = zoo(flag)
    assert (run.code, run.stderr) == (0, "")
    assert re.fullmatch(r"zoo \d+\.\d+\.\d+\n", run.stdout)


# ---------------------------------------------------------------- flags of all commands


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["list", "-q"], (False, True, False)),
        (["-q", "list"], (False, True, False)),
        (["list", "-v"], (False, False, True)),
        (["-vq", "list"], (False, True, True)),
        (["list", "-qvf", "*"], (False, True, True)),
        (["--json", "list"], (True, False, False)),
        (["-q", "--json", "list", "-v"], (True, True, True)),
        (["--quiet", "cache", "list"], (False, True, False)),
        (["cache", "--verbose", "list"], (False, False, True)),
        (["list", "-fq*", "-f", "*"], (False, False, False)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_may_stand_before_a_command_and_together(
    zoo: Zoo, tmp_path, monkeypatch, words: list[str], settings: tuple[bool, ...]
):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert zoo(*words).code == 0
    assert output.settings == settings


@pytest.mark.parametrize("words", [["--json", "list", "--bogus"], ["-q", "--json", "lst"], ["--json", "--bogus"]])
def test_a_usage_error_is_json_wherever_the_flag_stands(zoo: Zoo, words: list[str]):
    run = zoo(*words)
    assert (run.code, run.stdout) == (2, "")
    assert json.loads(run.stderr)["error"]["name"] == "usage"


@pytest.mark.parametrize(("words", "told"), [(["list", "-vx"], True), (["list", "-x", "-v"], True), (["-x"], False)])
def test_short_flags_are_seen_before_anything_is_parsed(zoo: Zoo, words: list[str], told: bool):
    run = zoo(*words)
    assert run.code == 2
    assert run.stderr.startswith("Traceback") is told


def test_a_value_of_another_option_is_no_flag(zoo: Zoo):
    # -o takes a value: `-ov` writes to a file called v.
    assert "Traceback" not in zoo("lock", "-ov", "nothing").stderr


# ---------------------------------------------------------------- what the help looks like


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_fits_eighty_columns(zoo: Zoo, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    shown = zoo(*words, "--help").stdout
    assert [line for line in shown.splitlines() if len(line) > WIDTH] == []
    # Nothing is cut on the way: every word of the texts is there in one piece, in its order.
    flat = " ".join(shown.split())
    assert " ".join((COMMANDS[words].help or "").replace("\b", "").split()) in flat
    for parameter in COMMANDS[words].params:
        text = getattr(parameter, "help", None) or ""
        assert " ".join(text.split()) in flat


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_example_is_shown_as_it_is_typed(zoo: Zoo, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    shown = {line.strip() for line in zoo(*words, "--help").stdout.splitlines()}
    written = textwrap.dedent(COMMANDS[words].help or "").splitlines()
    examples = [line.strip() for line in written if line.startswith("  ")]
    assert examples
    assert set(examples) <= shown


def options_by_heading(shown: str) -> dict[str, list[str]]:
    """The long names of the options under each heading of a help."""
    parts = re.split(r"^([A-Z][a-z ]*):\n", shown, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {heading: re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.MULTILINE) for heading, text in found.items()}


@pytest.mark.parametrize("words", [words for words, one in COMMANDS.items() if not hasattr(one, "commands")])
def test_options_of_all_commands_stand_last(zoo: Zoo, words: tuple[str, ...]):
    headings = options_by_heading(zoo(*words, "--help").stdout)
    assert list(headings)[-1] == "Common options"
    assert headings["Common options"][-4:] == ["--json", "--quiet", "--verbose", "--help"]
    shown = [option for options in headings.values() for option in options]
    own = [option for one in COMMANDS[words].params for option in one.opts if option.startswith("--")]
    assert sorted(shown) == sorted([*own, "--help"])


def test_a_long_help_has_sections(zoo: Zoo):
    adapting, exporting = (
        options_by_heading(zoo(name, "--help").stdout) for name in ("adapt-weights", "export-features")
    )
    assert list(adapting) == [
        "Arguments",
        "Channel options",
        "Input options",
        "Model options",
        "Output options",
        "Common options",
    ]
    assert adapting["Channel options"][0] == "--in-chans"
    assert list(exporting) == [
        "Arguments",
        "Input options",
        "Image options",
        "Model options",
        "Computing options",
        "Output options",
        "Common options",
    ]
    assert exporting["Output options"][0] == "--output"


def test_every_heading_is_one_of_the_list():
    named = {getattr(one, "rich_help_panel", None) for command in COMMANDS.values() for one in command.params}
    assert named - {None} <= set(HEADINGS)


def test_completion_after_help(monkeypatch: pytest.MonkeyPatch):
    import subprocess
    import sys

    env = os.environ | {"_ZOO_COMPLETE": "complete_bash", "COMP_WORDS": "zoo help adapt", "COMP_CWORD": "2"}
    program = "from zoo.cli.start import main; main()"
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, env=env)
    assert run.stdout.split() == ["adapt-weights"]
