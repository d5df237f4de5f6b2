"""Whatever words follow `zoo`, it ends with a documented code and a sentence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo.cli.app import app
from zoo.core.errors import ExitCode

from machine import MODEL, MachineHere, published_bytes
from weight_bytes import file_bytes

WEIGHTS = published_bytes(zero=True)
DOCUMENTED = set(ExitCode) - {ExitCode.UNEXPECTED}
NUMBERS = ["0", "1", "3", "7", "-1", "1.5", "nan", "-inf", "1e999", "٣", "1" * 20, "9" * 5000]
FILES = [
    "net.safetensors", "damaged.safetensors", "empty", "list.txt", "folder", "nothing.pth", "link", ".", "folder/net",
    "out.safetensors", "out.npz", "out", "/dev/null", "file\nname", "\udcff", "x" * 300,
]  # fmt: skip
WORDS = [
    MODEL, "test_resnet", "resnet", "test_vit", "no_such_model", "timm", "torchvision", "float16", "zero", "luma",
    "sentinel2", "B2,B3,B4", "red,green", "2,3", "-1", "safetensors", "npz", "*", "[", "", " ", "--", "-", "-o", "--no",
    "--json", "--json", "--force", "--quiet", "--in-chans=4", "--=", "-h", "ä", "\x1b[31m", "hf-hub:", "hf-hub:a/b",
    "hf-hub:../x", "local-dir:", "local-dir:folder", "http://127.0.0.1:9/x",
]  # fmt: skip


def commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, bool]]]:
    """Every command as it is typed, and its options, which take a value or not.

    Not --verbose: it shows tracebacks on purpose.
    """
    for name in group.commands:
        found = group.commands[name]
        options = [
            option for option in found.params if "--verbose" not in option.opts and option.opts[0].startswith("-")
        ]
        yield (*before, name), {text: not option.is_flag for option in options for text in option.opts}
        if hasattr(found, "commands"):
            yield from commands(found, (*before, name))


COMMANDS: list[tuple[tuple[str, ...], dict[str, bool]]] = [
    ((), {}),
    (("no-such-command",), {}),
    *commands(typer.main.get_command(app)),
]


# What gets as far as the files, so that options which are strange only there are looked at too.
SOUND_LINES = [
    "list", "info test_resnet", "inspect net.safetensors", "inspect net.safetensors --stats",
    "identify net.safetensors", "diff net.safetensors net.safetensors", "check test_resnet net.safetensors",
    "convert net.safetensors -o out.npz", "convert net.safetensors -o out.safetensors",
    "adapt-weights net.safetensors --in-chans 4 -o out.safetensors",
    "adapt-weights test_resnet --weights net.safetensors --in-chans 4 -o out.safetensors",
    "create test_resnet --weights net.safetensors", "create test_resnet -o out.safetensors",
    "export-features test_resnet folder --weights net.safetensors -o out", "cache list", "cache prune",
]  # fmt: skip


VALUES = st.sampled_from([*NUMBERS, *FILES, *WORDS])


@st.composite
def edited_lines(draw: st.DrawFn) -> list[str]:
    """A sound command line with up to two options of its command behind it."""
    line = draw(st.sampled_from(SOUND_LINES)).split()
    options = next(options for command, options in reversed(COMMANDS) if command and line[: len(command)] == [*command])
    for option in draw(st.lists(st.sampled_from(list(options)), max_size=2)):
        line += [option, draw(VALUES)] if options[option] else [option]
    return line


@st.composite
def random_lines(draw: st.DrawFn) -> list[str]:
    """A command and up to six words, its own options more often than others."""
    command, options = draw(st.sampled_from(COMMANDS))
    return [*command, *draw(st.lists(st.sampled_from(list(options)) | VALUES if options else VALUES, max_size=6))]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> MachineHere:
    """No network, and nothing in the caches."""
    return MachineHere(tmp_path / "machine", None, monkeypatch, capsys)


def put_files() -> None:
    """The working folder as every example finds it."""
    for entry in os.scandir("."):
        (shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)
    Path("net.safetensors").write_bytes(WEIGHTS)
    Path("damaged.safetensors").write_bytes(file_bytes(b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}}'))
    Path("empty").touch()
    Path("list.txt").write_text("0\n1\n")
    Path("folder").mkdir()
    Path("link").symlink_to("nowhere")


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=edited_lines() | random_lines())
def test_f_any_words_end_with_a_documented_code(machine: MachineHere, words: list[str]):
    put_files()
    run = machine.zoo(*words, env={"HF_HUB_OFFLINE": "1"})
    assert run.code in DOCUMENTED, run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    assert run.code == 0 or run.stderr
