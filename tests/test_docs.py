"""The generated pages are up to date; the reference of the command line is what the commands say of themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

import zoo
from zoo.cli.app import COMMANDS
from zoo.core.architectures import registry
from zoo.core.channels.sensors import sensors
from zoo.core.errors import ExitCode

from documentation import ROOT, script


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    return script(ROOT / "docs" / "generate.py")


def test_the_page_is_up_to_date(generate: ModuleType):
    assert generate.PAGE.read_text(encoding="utf-8") == generate.page(), "run `make docs`"


def test_the_manual_page_is_up_to_date(generate: ModuleType):
    assert generate.MAN_PAGE.read_text(encoding="utf-8") == generate.manual(), "run `make docs`"


def test_the_manual_page_shows_what_the_help_says(generate: ModuleType):
    if shutil.which("man") is None:
        pytest.skip("there is no man here")
    env = os.environ | {"MANWIDTH": "120", "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MAN_KEEP_FORMATTING": ""}
    command = ["man", "--warnings", "-E", "UTF-8", "-P", "cat", "-l", str(generate.MAN_PAGE)]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    shown = {line.strip() for line in run.stdout.splitlines()}
    for words in ((), ("adapt-weights",), ("cache", "list")):
        assert {line.strip() for line in generate.help_text(*words).splitlines()} <= shown, words


def test_the_page_of_the_sensors_is_up_to_date(generate: ModuleType):
    assert generate.SENSORS_PAGE.read_text(encoding="utf-8") == generate.sensors_page(), "run `make docs`"


def test_the_page_of_the_layouts_is_up_to_date(generate: ModuleType):
    assert generate.LAYOUTS_PAGE.read_text(encoding="utf-8") == generate.layouts_page(), "run `make docs`"


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
    table = generate.PAGE.read_text(encoding="utf-8").partition("Exit codes:\n")[2].partition("```")[0]
    documented = re.findall(r"^ +(\d+) +\w", table, re.MULTILINE)
    assert [int(code) for code in documented] == sorted(ExitCode)


WRITTEN_BY_HAND = sorted({ROOT / "README.md", *(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "sensors.md"})


@pytest.mark.parametrize("page", WRITTEN_BY_HAND, ids=lambda page: page.name)
def test_a_page_names_only_options_and_commands_that_names(page: Path, generate: ModuleType):
    reference = generate.PAGE.read_text(encoding="utf-8")
    commands = {"help", *re.findall(r"^##+ `zoo (.+)`", reference, re.MULTILINE)}
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", reference.partition("## `zoo list`")[2]))
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page.read_text(encoding="utf-8"))
    for span in spans:
        if named := re.match(r"zoo ([a-z][a-z-]*)(?= |$)", span):
            assert named[1] in commands, span
        if span.startswith(("zoo ", "--")):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", span)) <= options | {"--help"}, span


def test_the_numbers_of_the_readme_are_those_of_the_tables():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    built = len(zoo.list_models())
    for pattern, number in (
        (r"lists ([\d,]+) architectures", built),
        (r"([\d,]+) names of \d+ families", built),
        (r"names of (\d+) families", len(registry.families())),
        (r"names and tags of ([\d,]+) published architectures", built),
        (r"bands of (\d+) sensors", len(sensors())),
    ):
        assert re.findall(pattern, text) == [f"{number:,}"], pattern


NAMING_CODE = [page for page in WRITTEN_BY_HAND if page.name != "cli.md"]
_FILE = re.compile(r"(?<![\w./-])(?:cli|core|models|weights_cache|tests|docs)/[\w./<>-]*")
_MODULE = re.compile(r"(?<![\w./-])(?:cli|core|models|weights_cache)(?!\.md\b)(?:\.[a-zA-Z_]\w*)+")
_TABLE = re.compile(r"^\| module in `([\w/]+)` \|.*\n((?:\|.*\n)+)", re.MULTILINE)


def _exists(module: str, folder: Path = ROOT) -> bool:
    """Whether a dotted name is a module or a package, or a name that stands in the module before the last dot."""
    path = folder.joinpath(*module.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    source = path.parent.with_suffix(".py")
    return source.is_file() and re.search(rf"\b{path.name}\b", source.read_text(encoding="utf-8")) is not None


@pytest.mark.parametrize("page", NAMING_CODE, ids=lambda page: page.name)
def test_the_modules_and_files_that_a_page_names_exist(page: Path):
    text = page.read_text(encoding="utf-8")
    files = {name.rstrip(".") for name in _FILE.findall(text)}
    # `<family>` stands for any name.
    missing = {name for name in files if not [*ROOT.glob(re.sub("<.*?>", "*", name))]}
    missing |= {name for name in _MODULE.findall(text) if not _exists(name)}
    for folder, rows in _TABLE.findall(text):
        names = [name for row in rows.splitlines() for name in re.findall(r"`([\w.]+)`", row.split("|")[1])]
        missing |= {f"{folder}: {name}" for name in names if not _exists(name, ROOT / folder)}
    assert missing == set()


def test_every_table_of_modules_is_checked():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len(_TABLE.findall(text)) == text.count("| module")
    names = {"core.files", "core.errors.ExitCode", "core.nowhere", "core.errors.Nothing"}
    assert {name for name in names if _exists(name)} == {"core.files", "core.errors.ExitCode"}


PAGES = sorted((ROOT / "docs").glob("*.md"))


def _anchor(heading: str) -> str:
    """The anchor of a heading, as Markdown makes it."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower())).strip("-")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_a_link_leads_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(_anchor, headings), target


def test_the_site_has_every_page():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    assert sorted(re.findall(r"(\S+\.md)$", nav, re.MULTILINE)) == [page.name for page in PAGES]


def test_the_exit_codes_on_the_site_are_those_of_the_help():
    table = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8").partition("| code |")[2].partition("\n\n")[0]
    assert {int(code) for row in table.splitlines()[2:] for code in re.findall(r"\d+", row.split("|")[1])} == set(
        ExitCode
    )


def test_the_page_of_the_library_has_every_public_name():
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    documented = re.findall(r"^::: zoo\.(\w+)$", page, re.MULTILINE)
    assert sorted(documented) == sorted(set(zoo.__all__) - {"__version__"})
