"""The help page of a command: its options under headings, the common options last.

An option names its heading with `rich_help_panel`. Typer only uses that when it draws with rich, which zoo never
imports, so the sorting is done here.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand

OTHER = "Options"
CHANNELS = "Channel options"
INPUT = "Input options"
IMAGES = "Image options"
MODEL = "Model options"
COMPUTING = "Computing options"
OUTPUT = "Output options"
COMMON = "Common options"

HEADINGS = (OTHER, CHANNELS, INPUT, IMAGES, MODEL, COMPUTING, OUTPUT, COMMON)
"""The headings in the order of the page. An option without one is under the first."""

WIDEST_NAME = 30
"""Columns of the longest option whose text starts on the same line."""


class SectionedCommand(TyperCommand):
    """A command whose options are shown under headings, in the order of its function's parameters."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then one section per heading that has options, with one column of names."""
        arguments: list[tuple[str, str]] = []
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if isinstance(parameter, TyperArgument):
                arguments.append(record)
            else:
                sections[_heading(parameter)].append(record)
        names = [name for records in sections.values() for name, _ in records]
        width = min(max(map(len, names), default=0), WIDEST_NAME)
        aligned = {
            heading: [(name.ljust(width), text) for name, text in records] for heading, records in sections.items()
        }
        for heading, records in {"Arguments": arguments, **aligned}.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def _heading(option: Any) -> str:
    """The heading that the option names. `--help`, which Typer adds itself, is a common option."""
    if option.name == "help":
        return COMMON
    return getattr(option, "rich_help_panel", None) or OTHER
