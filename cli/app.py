"""The list of commands. To add one: a module in `zoo.cli.commands` and a line below."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from zoo.cli import errors, output
from zoo.cli.commands.adapt_weights import adapt_weights
from zoo.cli.commands.create import create
from zoo.cli.commands.export_features import export_features
from zoo.cli.commands.info import info
from zoo.cli.commands.list import list_models

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

app = typer.Typer(
    name="zoo",
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
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Inspect image models, adapt their weights to any number of channels, export their features.

    \b
    Example:
      zoo list --filter 'resnet*'
    """


# A stray word after `zoo list` is a pattern that the shell expanded: the command says so.
app.command("list", context_settings={"allow_extra_args": True})(list_models)
app.command("info")(info)
app.command("create")(create)
app.command("adapt-weights")(adapt_weights)
app.command("export-features")(export_features)


def main() -> NoReturn:
    """Entry point of the console script `zoo`."""
    output.prepare_streams()
    errors.stop_on_signals()
    sys.exit(errors.run(app, sys.argv[1:]))
