"""The examples that the documentation shows: of every command's help, and the blocks of the Markdown pages.

A block of shell lines is fenced as `console` (a command behind `$ `), `sh` or `bash`, or indented by four spaces and
begins with a command. `<!-- not run: REASON -->` on the line above a block says that no test runs it.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from zoo.cli.app import COMMANDS, zoo

ROOT = Path(__file__).parents[1]
GENERATED = {"cli.md", "sensors.md"}
"""Pages of docs/ that are written from what is tested elsewhere."""

_SHELL = {"console", "sh", "bash", "shell"}
_FIRST_WORDS = re.compile(r"(?:[A-Z_]+=\S+ )*(?:zoo|find|cat|ls|cp|make|pip|pytest|python3?|git)\b")
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")


class Example(NamedTuple):
    """Commands that belong together, or one Python program; `not_run` is the reason why no test runs it."""

    place: str
    lines: tuple[str, ...]
    language: str = "sh"
    not_run: str = ""

    @property
    def name(self) -> str:
        return f"{self.place}: {self.lines[0][:80]}"


def help_examples() -> list[Example]:
    """One example a line of the help of each command, and of each command of a group."""
    found = [Example("zoo --help", (line,)) for line in _of_help(zoo.__doc__ or "")]
    for name in COMMANDS:
        command = COMMANDS[name].load(name)
        pages = {name: command} | {f"{name} {sub}": one for sub, one in getattr(command, "commands", {}).items()}
        for place, one in pages.items():
            found += [Example(f"zoo {place} --help", (line,)) for line in _of_help(one.help or "")]
    return found


def _of_help(text: str) -> list[str]:
    blocks = re.findall(r"^ *Examples?:\n((?: *\S.*(?:\n|$))+)", text, re.MULTILINE)
    return [line for block in blocks for line in joined(block.splitlines())]


def page_examples() -> list[Example]:
    """The blocks of README.md, but for its session, and of the pages of docs/ that are written by hand."""
    pages = sorted(path for path in (ROOT / "docs").glob("*.md") if path.name not in GENERATED)
    found = [example for page in pages for example in blocks_of(page)]
    return found + [example for example in blocks_of(ROOT / "README.md") if example.lines[0] != ". .venv/bin/activate"]


def blocks_of(page: Path) -> Iterator[Example]:
    """The blocks of one page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        start, fence = number, re.fullmatch(r"```(\w*)", lines[number])
        number += 1
        body: list[str] = []
        if fence:
            while lines[number] != "```":
                body.append(lines[number])
                number += 1
            number += 1
            language = fence[1]
        elif lines[start].startswith("    ") and (not start or not lines[start - 1]):
            body.append(lines[start][4:])
            while number < len(lines) and lines[number].startswith("    "):
                body.append(lines[number][4:])
                number += 1
            language = "sh" if _FIRST_WORDS.match(body[0]) else ""
        if language_of := _language(language if body else ""):
            above = _NOT_RUN.fullmatch(_above(lines, start))
            commands = ["\n".join(body)] if language_of == "python" else _commands(language, body)
            yield Example(f"{page.name}:{start + 1}", tuple(commands), language_of, above[1] if above else "")


def _language(info: str) -> str:
    return "sh" if info in _SHELL else "python" if info == "python" else ""


def _above(lines: list[str], start: int) -> str:
    """The nearest line above that is not empty."""
    return next((line for line in reversed(lines[:start]) if line), "")


def _commands(language: str, body: list[str]) -> list[str]:
    if language == "console":
        body = [line[2:] for line in body if line.startswith("$ ")]
    return joined(body)


def joined(lines: list[str]) -> list[str]:
    r"""Commands without the line breaks that a `\` takes back, and without their indentation."""
    text = "\n".join(line.strip() for line in lines if line.strip())
    return re.sub(r" *\\\n *", " ", text).splitlines()


def script(path: Path) -> ModuleType:
    """A program of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
