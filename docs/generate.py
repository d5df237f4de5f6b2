"""Write docs/cli.md, the reference of the command line, from the help that the commands print.

python docs/generate.py
"""

import os
import subprocess
import sys
from pathlib import Path

from zoo.cli.app import app

PAGE = Path(__file__).with_name("cli.md")

HEADER = """\
<!-- Written by docs/generate.py from the help of the commands; change it there, then run `make docs`. -->

# The command line
"""

# As it looks in a pipe, whatever terminal or CI system this runs in.
PLAIN = {"COLUMNS": "100", "NO_COLOR": "1", "TYPER_USE_RICH": "0", "TERM": "dumb"}


def command_names() -> list[str]:
    """Every command, in the order of the help."""
    return [command.name or "" for command in app.registered_commands]


def help_text(*words: str) -> str:
    """What `zoo <words> --help` prints."""
    command = [sys.executable, "-P", "-c", "from zoo.cli.app import main; main()", *words, "--help"]
    run = subprocess.run(command, env=os.environ | PLAIN, capture_output=True, text=True, check=True)
    return "\n".join(line.rstrip() for line in run.stdout.strip().splitlines())


def page() -> str:
    """The whole page."""
    sections = [f"## `zoo`\n\n```text\n{help_text()}\n```\n"]
    sections += [f"## `zoo {name}`\n\n```text\n{help_text(name)}\n```\n" for name in command_names()]
    return "\n".join([HEADER, *sections])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
