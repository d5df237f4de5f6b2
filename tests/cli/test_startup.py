"""What each command imports before it is needed: nothing that takes longer than the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from math import prod
from pathlib import Path

import pytest

from zoo.cli.app import COMMANDS

from golden import golden, smallest
from weight_bytes import weight_bytes

HEAVY = ("torch", "PIL", "rich", "huggingface_hub")
MODEL = smallest("resnet")
PROGRAM = """
import sys
from zoo.cli.start import main
try:
    main()
finally:
    sys.stderr.write(" ".join(sorted(name for name in sys.modules if name.startswith(NAMES))))
"""

# What commands do without a model in memory and without a network.
RUNS = [
    ["--version"],
    ["list"],
    ["list", "--json"],
    ["list", "--where", "top1>80 and params<30M", "--sort", "-top1", "--limit", "3"],
    ["info", MODEL],
    ["inspect", "net.safetensors"],
    ["inspect", "net.safetensors", "--tree", "--json"],
    ["identify", "net.safetensors"],
    ["check", MODEL, "net.safetensors"],
    ["diff", "net.safetensors", "net.safetensors"],
    ["diff", "net.safetensors", "half.safetensors", "--tolerance", "1"],
    ["convert", "net.safetensors", "--dtype", "float16", "--quiet", "-o", "converted.safetensors"],
    ["average", "net.safetensors", "net.safetensors", "--quiet", "-o", "average.safetensors"],
    ["adapt-weights", MODEL, "--weights", "net.safetensors", "--in-chans", "5", "-o", "adapted.safetensors"],
    ["cache", "list"],
]
COMPUTES = {"export", "create", "export-features", "evaluate"}
FETCHES = {"fetch", "lock", "bundle", "unbundle"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's weights, all zero, in single and in half precision."""
    folder = tmp_path_factory.mktemp("startup")
    keys = golden("resnet")[MODEL]["keys"]
    for name, dtype, size in (("net", "F32", 4), ("half", "F16", 2)):
        tensors = {
            key: ("I64", tuple(shape), bytes(8))
            if kind == "int64"
            else (dtype, tuple(shape), bytes(size * prod(shape)))
            for key, (shape, kind) in keys.items()
        }
        (folder / f"{name}.safetensors").write_bytes(weight_bytes(tensors, {"format": "pt"}))
    return folder


def assert_light(folder: Path, *words: str) -> None:
    assert_imports_none_of(folder, words, HEAVY)


def assert_imports_none_of(folder: Path, words: Sequence[str], names: Sequence[str]) -> None:
    """Run `zoo WORDS`, and see that it imports none of these modules, nor any whose names begin with theirs."""
    env = os.environ | {"HF_HOME": str(folder / "hub"), "COLUMNS": "100"}
    command = [sys.executable, "-P", "-c", PROGRAM.replace("NAMES", repr(tuple(names))), *words]
    run = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")  # where the program tells what was imported
    assert run.stdout != ""


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_imports_nothing_heavy(folder: Path, command: str):
    assert_imports_none_of(folder, (command, "--help"), (*HEAVY, "numpy"))


def test_the_list_of_commands_imports_none_of_them():
    program = (
        "import sys; from zoo.cli import errors; from zoo.cli.app import app; code = errors.run(app, ['--help']);"
        "sys.exit(code or any(name.startswith('zoo.cli.commands.') for name in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    shown = [line.split()[0] for line in run.stdout.partition("Commands:")[2].splitlines() if line.startswith("  ")]
    assert shown[: len(COMMANDS)] == list(COMMANDS)


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_a_command_imports_nothing_heavy(folder: Path, words: list[str]):
    assert_light(folder, *words)


# What a command does without: rows of families, tables of other layouts, rules for other image sizes.
@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (
            ["identify", "net.safetensors"],
            (
                "zoo.core.architectures.configs",
                "zoo.core.architectures.records",
                "zoo.core.layouts",
                "zoo.core.resize",
                "dataclasses",
            ),
        ),
        (["inspect", "net.safetensors"], ("zoo.core.architectures.configs", "zoo.core.layouts", "zoo.core.resize")),
        (
            ["check", MODEL, "net.safetensors"],
            ("zoo.core.architectures.configs", "zoo.core.layouts", "zoo.core.resize"),
        ),
        (["info", MODEL], ("zoo.core.architectures.configs", "zoo.core.architectures.known")),
        (
            ["adapt-weights", MODEL, "--weights", "net.safetensors", "--in-chans", "5", "-o", "five.safetensors"],
            (
                *HEAVY,
                "numpy",
                "zoo.core.layouts",
                "zoo.core.resize",
                "zoo.core.identify.identify",
                "zoo.core.architectures.configs",
            ),
        ),
        (
            [
                "adapt-weights",
                "net.safetensors",
                "--in-chans",
                "1",
                "--num-classes",
                "0",
                "--quiet",
                "-o",
                "one.safetensors",
            ],
            (*HEAVY, "numpy", "zoo.core.layouts", "zoo.core.resize", "zoo.core.architectures.configs"),
        ),
    ],
    ids=lambda value: " ".join(value[:2]),
)
def test_a_plain_file_is_looked_at_without(folder: Path, words: list[str], unused: tuple[str, ...]):
    assert_imports_none_of(folder, words, unused)


def test_every_command_is_run_or_needs_a_model_or_a_network():
    assert {words[0] for words in RUNS if words[0] in COMMANDS} | COMPUTES | FETCHES == set(COMMANDS)
