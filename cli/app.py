"""The list of commands. To add one: a module in `zoo.cli.commands` and a line in COMMANDS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from zoo.cli import output
from zoo.cli.groups import CommandGroup
from zoo.cli.help_sections import SectionedCommand
from zoo.cli.options import Json, Quiet, Verbose

EXIT_CODES = """\b
Exit codes:
  0    done
  1    unexpected error
  2    wrong usage
  3    some items failed, the rest is done
  4    input invalid, corrupt, unsafe or not matching
  5    not found, or no network
  6    cannot write the output
  129  terminal closed (SIGHUP)
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)
"""


class Command(NamedTuple):
    """The location of a command: a function in a module of `zoo.cli.commands`, or a Typer app with commands of its own.

    The summary is its line in `zoo --help`, which therefore need not import it.
    """

    module: str
    function: str
    summary: str
    settings: Mapping[str, Any] = {}

    def load(self, name: str) -> TyperCommand | TyperGroup:
        """Import the function or app, and make a command of it."""
        found = getattr(import_module(f"zoo.cli.commands.{self.module}"), self.function)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)  # type: ignore[return-value]
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        settings = dict(self.settings)
        alone.command(name, cls=SectionedCommand, short_help=self.summary, context_settings=settings)(found)
        return typer.main.get_command(alone)  # type: ignore[return-value]


COMMANDS = {
    # A stray word after `zoo list` is a pattern that the shell expanded: the command says so.
    "list": Command("list", "list_models", "List the models that zoo builds.", {"allow_extra_args": True}),
    "info": Command("info", "info", "Show a model: size, default config, feature levels, tags."),
    "inspect": Command("inspect", "inspect", "Show what a weight file holds."),
    "identify": Command("identify", "identify", "Tell which architecture a weight file holds."),
    "create": Command("create", "create", "Build a model and write its weights."),
    "adapt-weights": Command("adapt_weights", "adapt_weights", "Fit weights to any number of input channels."),
    "convert": Command("convert", "convert", "Convert weights to another key layout, dtype or format."),
    "average": Command("average", "average", "Average the weights of several files of one architecture."),
    "check": Command("check", "check", "Tell whether a weight file would load into a model."),
    "diff": Command("diff", "diff", "Compare two weight files and explain the differences."),
    "export": Command("export", "export", "Write a model as a graph: ONNX, OpenVINO, torch.export."),
    "export-features": Command(
        "export_features", "export_features", "Write the features that a model computes from images."
    ),
    "evaluate": Command("evaluate", "evaluate", "Measure the accuracy of a model on images with labels."),
    "fetch": Command("fetch", "fetch", "Bring published weights into the cache."),
    "lock": Command("lock", "lock", "Record which bytes the names of weights stand for."),
    "bundle": Command("bundle", "bundle", "Pack weights for a machine without a network."),
    "unbundle": Command("bundle", "unbundle", "Put the weights of a bundle into the cache."),
    "cache": Command("cache", "cache", "List, check and clean the caches of weights."),
}


class LoadedOnDemand(Mapping[str, TyperCommand | TyperGroup]):
    """The commands by name; a lookup imports only that command. Importing all took half of zoo's own start-up time."""

    def __getitem__(self, name: str) -> TyperCommand | TyperGroup:
        return COMMANDS[name].load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Commands(CommandGroup):
    """The group of all commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LoadedOnDemand()  # type: ignore[assignment]

    def list_commands(self, _context: Any) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, _context: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])


app = typer.Typer(
    name="zoo",
    cls=Commands,
    epilog=EXIT_CODES,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from zoo import __version__

        output.lines([f"zoo {__version__}"])
        raise typer.Exit


@app.callback()
def zoo(
    _version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    _json: Json = False,
    _quiet: Quiet = False,
    _verbose: Verbose = False,
) -> None:
    """Inspect image models, adapt their weights to any number of channels, and export their features.

    `zoo help COMMAND` shows the options of a command. `zoo` alone shows this page. The options --json, -q and -v, which
    all commands have, may also stand before the command.

    \b
    Example:
      zoo list --filter 'resnet*'
    """
