"""Groups of commands: alone they show their help, `help COMMAND` shows a command's, shared flags may come first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

HELP = "help"
_SHARED = re.compile(r"--json|--quiet|--verbose|-[qv]+")


class CommandGroup(TyperGroup):
    """A group that reorders its words as its commands expect."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _in_order(args))


def _in_order(args: list[str]) -> list[str]:
    """Turn `-q list` into `list -q` and `help list` into `list --help`; without a command, return `--help`."""
    first = next((i for i, word in enumerate(args) if not word.startswith("-")), len(args))
    shared = [word for word in args[:first] if _SHARED.fullmatch(word)]
    own = [word for word in args[:first] if word not in shared]
    command, rest = args[first : first + 1], args[first + 1 :]
    if command == [HELP]:
        return [*own, *rest, "--help"]
    if not command and not own:
        return ["--help"]
    return [*own, *command, *(shared if command else ()), *rest]


def is_given(name: str, words: Sequence[str]) -> bool:
    """Whether a shared flag is among the words: `--quiet`, `-q`, or combined as in `-vq`."""
    letter = "" if name == "json" else name[0]
    return any(word == f"--{name}" or (letter and letter in _letters(word)) for word in words)


def _letters(word: str) -> str:
    """The flag letters at the start of a word; after an option with a value, as in `-ov`, they are its value."""
    found = re.match(r"-([qvhV]+)", word)
    return found[1] if found else ""
