"""What a program reads: under --json every command prints one strict JSON document, or nothing and says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from typing import Any, NoReturn

import numpy as np
import pytest
import typer

from zoo.cli.app import app

from fake_hub import FakeHub
from machine import MODEL, MachineHere, hub_of, published_bytes
from weight_bytes import weight_bytes

BODY = published_bytes()
NOT_FINITE = np.array([np.nan, np.inf, -np.inf, 1], "<f4").tobytes()
PHOTO = Path(__file__).parents[1] / "data" / "coffee.png"
BUNDLE = ("bundle", MODEL, "-o", "weights.tar")

# Command -> runs of it; the last is the one that is looked at.
RUNS: dict[str, list[tuple[str, ...]]] = {
    "list": [("list",)],
    "info": [("info", MODEL)],
    "inspect": [("inspect", "net.safetensors")],
    "inspect --stats": [("inspect", "odd.safetensors", "--stats")],
    "inspect --tree": [("inspect", "net.safetensors", "--tree")],
    "identify": [("identify", "net.safetensors")],
    "create": [("create", MODEL, "--weights", "net.safetensors")],
    "adapt-weights": [
        ("adapt-weights", MODEL, "--weights", "net.safetensors", "--in-chans", "5", "--verify", "-o", "5.safetensors")
    ],
    "convert": [("convert", "net.safetensors", "-o", "net.npz")],
    "average": [("average", "net.safetensors", "net.safetensors", "-o", "average.safetensors")],
    "check": [("check", MODEL, "net.safetensors")],
    "diff": [("diff", "net.safetensors", "net.safetensors")],
    "diff --tolerance": [("diff", "odd.safetensors", "odd.safetensors", "--tolerance", "1e-3")],
    "export": [("export", MODEL, "--weights", "net.safetensors", "--no-verify", "-o", "model.pt2")],
    "export-features": [("export-features", MODEL, "photos", "--weights", "net.safetensors", "-o", "features")],
    "evaluate": [("evaluate", MODEL, "labels.csv", "--weights", "net.safetensors")],
    "fetch": [("fetch", MODEL)],
    "lock": [("lock", MODEL, "-o", "zoo.lock")],
    "bundle": [BUNDLE],
    "unbundle": [BUNDLE, ("unbundle", "weights.tar")],
    "cache list": [("fetch", MODEL), ("cache", "list")],
    "cache path": [("fetch", MODEL), ("cache", "path", MODEL)],
    "cache verify": [("fetch", MODEL), ("cache", "verify")],
    "cache prune": [("cache", "prune")],
    "cache remove": [("fetch", MODEL), ("cache", "remove", MODEL)],
}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with hub_of(BODY) as server:
        yield server


@pytest.fixture
def machine(
    tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> MachineHere:
    here = MachineHere(tmp_path / "machine", hub, monkeypatch, capsys)
    Path("net.safetensors").write_bytes(BODY)
    Path("odd.safetensors").write_bytes(weight_bytes({"odd": ("F32", (4,), NOT_FINITE)}))
    Path("photos").mkdir()
    copy(PHOTO, "photos")
    Path("labels.csv").write_text("path,label\nphotos/coffee.png,7\n")
    return here


def strict(text: str) -> Any:
    """The document; NaN and Infinity, which Python writes and JSON does not have, are errors."""

    def refuse(word: str) -> NoReturn:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def command_names(group: Any, before: str = "") -> Iterator[str]:
    """Every command with the group that it is in, as it is typed."""
    for name in group.commands:
        found = group.commands[name]
        yield from command_names(found, f"{before}{name} ") if hasattr(found, "commands") else [before + name]


@pytest.mark.parametrize("command", RUNS)
def test_f_a_command_prints_one_document(machine: MachineHere, command: str):
    *first, words = RUNS[command]
    for one in first:
        machine.zoo(*one, "--quiet")
    run = machine.zoo(*words, "--json")
    assert run.code == 0, run.stderr
    document = strict(run.stdout)
    assert document["schema_version"] == 1
    assert len(document) > 1


@pytest.mark.parametrize("command", list(command_names(typer.main.get_command(app))))
def test_f_a_command_that_fails_prints_its_error_as_json(machine: MachineHere, command: str):
    run = machine.zoo(*command.split(), "--no-such-option", "--json")
    assert (run.code, run.stdout) == (2, "")
    document = strict(run.stderr)
    assert document["schema_version"] == 1
    error = document["error"]
    assert (error["code"], error["name"]) == (2, "usage")
    assert error["message"]
    assert error["hint"]


def test_every_command_is_here():
    typed = {" ".join(word for word in name.split() if not word.startswith("-")) for name in RUNS}
    assert typed == set(command_names(typer.main.get_command(app)))
