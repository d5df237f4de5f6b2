"""The generated pages are up to date; the reference of the command line is what the commands say of themselves."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from zoo.cli.app import COMMANDS
from zoo.core.errors import ExitCode

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(generate: ModuleType):
    assert generate.PAGE.read_text(encoding="utf-8") == generate.page(), "run `make docs`"


def test_the_page_of_the_sensors_is_up_to_date(generate: ModuleType):
    assert generate.SENSORS_PAGE.read_text(encoding="utf-8") == generate.sensors_page(), "run `make docs`"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str):
    text = COMMANDS[name].load(name).help or ""
    first = text.strip().splitlines()[0]
    assert first.endswith((".", ":")), "the first line is the summary that `zoo --help` shows"
    assert re.search(rf"^ +zoo {name} ", text, re.MULTILINE), "an example that a reader can copy"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_flags_of_all(name: str, generate: ModuleType):
    page = generate.PAGE.read_text(encoding="utf-8")
    section = page.partition(f"## `zoo {name}`")[2].partition("\n## ")[0]
    assert {"--quiet", "--verbose", "--help"} <= set(re.findall(r"--[a-z-]+", section))


def test_the_help_documents_every_exit_code(generate: ModuleType):
    documented = re.findall(r"^ +(\d+) +\w", generate.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(code) for code in documented] == sorted(ExitCode)
