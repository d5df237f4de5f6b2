"""`zoo list`: the available models."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import output
from zoo.cli.help_sections import OUTPUT
from zoo.cli.options import Force, Json, Quiet, Verbose, complete_family, complete_model_name, quoted_pattern
from zoo.core.architectures import registry
from zoo.core.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from zoo.core.catalog.conditions import Condition


def complete_order(incomplete: str) -> list[str]:
    """Columns that begin with the last typed word, for --sort."""
    from zoo.core.catalog.columns import COLUMNS

    before, _, last = incomplete.rpartition(",")
    begun = [f"{before}," if before else "", "-" if last.startswith("-") else ""]
    return ["".join((*begun, name)) for name in COLUMNS if name.startswith(last.removeprefix("-"))]


def complete_columns(incomplete: str) -> list[str]:
    """Columns that begin with the last typed word, for --columns."""
    return [] if incomplete.rpartition(",")[2].startswith("-") else complete_order(incomplete)


def list_models(
    context: typer.Context,
    patterns: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="PATTERN",
            help="List only names that match; repeatable.",
            autocompletion=complete_model_name,
        ),
    ] = None,
    excludes: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Leave out names that match; repeatable."),
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="List only models with published weights, one name.tag per line.")
    ] = False,
    family: Annotated[
        str, typer.Option(metavar="FAMILY", help="List only models of this family.", autocompletion=complete_family)
    ] = "",
    where: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION", help="List only models for which the condition holds, for example 'params<30M'."
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="COLUMN,...",
            help="Sort by these columns, in descending order with a minus before the name.",
            autocompletion=complete_order,
        ),
    ] = "name",
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="List only the first N models, 1 or more, after sorting.")
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            metavar="COLUMN,...",
            rich_help_panel=OUTPUT,
            help="Print these columns, with tabs between them in a pipe.",
            autocompletion=complete_columns,
        ),
    ] = "",
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            readable=False,
            rich_help_panel=OUTPUT,
            help="Draw the models by cost and worth into this .png, .svg or .html file, and print those on the front.",
        ),
    ] = None,
    x: Annotated[
        str,
        typer.Option(
            "--x", metavar="COLUMN", rich_help_panel=OUTPUT, help="With --plot, take the cost from this column."
        ),
    ] = "macs",
    y: Annotated[
        str,
        typer.Option(
            "--y", metavar="COLUMN", rich_help_panel=OUTPUT, help="With --plot, take the worth from this column."
        ),
    ] = "top1",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List models: a table on a terminal, one name per line in a pipe.

    Patterns are shell wildcards, so quote them. A pattern with a dot matches name.tag. A pattern without a dot matches
    the name alone. A model without a tag stands for its default tag.

    \b
    A condition compares columns with = != < <= > >= and ~ (contains), and joins with
    and, or, not and brackets. An unknown value fulfils no order.
      text     name, family, tag, license, interpolation
      numbers  params, macs, top1, top5, real_top1, real_top5 (percent on ImageNet-1k),
               input (pixels), crop, classes, features
      levels   stride, channels: true if it holds for one of the feature levels
      yes, no  pretrained, fixed (whether the input size is)

    \b
    Examples:
      zoo list --filter 'resnet*' --exclude '*d' --sort macs
      zoo list --pretrained --filter '*.a1_in1k'
      zoo list --where 'params<30M and license~apache and stride=8' --sort -top1 --limit 10
      zoo list --pretrained --where 'top1>80 and input<=256' --columns name,top1,macs
      zoo list --where 'params<30M' --plot pareto.html
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    if context.args:
        raise _stray_words(context.args)
    if limit is not None and limit < 1:
        raise UsageError(
            f"--limit takes a number of models, 1 or more, found {limit}.", hint="For example: --limit 10."
        )
    _refuse_file_names("--filter", patterns or [])
    _refuse_file_names("--exclude", excludes or [])
    names = registry.list_models(patterns or "", family, pretrained=pretrained, exclude_filters=excludes or "")
    if not names:
        raise _nothing_found(patterns or [], family, pretrained)
    if plot is None and where is None and not columns and sort == "name" and not json and not output.on_terminal():
        output.lines(names[:limit])
        return

    from zoo.cli.model_table import chosen_rows, parse_choice, print_rows

    choice = parse_choice(where, sort, columns, limit)
    rows = chosen_rows(names, choice)
    if not rows:
        raise _no_row(names, choice.condition)
    if plot is not None:
        from zoo.cli.front_chart import draw_front

        draw_front(rows, plot, x=x, y=y, condition=where or "", force=force, as_json=json)
        return
    print_rows(rows, choice, as_json=json)


def _stray_words(words: list[str]) -> UsageError:
    """The error for extra words: the shell expanded an unquoted pattern to file names, or the option is missing."""
    return UsageError(
        f"{len(words)} unexpected word{'s' * (len(words) > 1)} after the options, first {words[0]!r}.",
        hint="Give a pattern as --filter 'resnet*', in quotes: unquoted, the shell replaces it by file names.",
    )


def _refuse_file_names(option: str, patterns: list[str]) -> None:
    """Raise NotFoundError for a pattern that is a file's name, not a model's: the shell has expanded it."""
    for pattern in patterns:
        if os.path.exists(pattern) and not _is_known(pattern):
            kind = "folder" if os.path.isdir(pattern) else "file"
            raise NotFoundError(
                f"No model matches {pattern!r}, which is a {kind} here.",
                hint="The shell replaces an unquoted pattern by the names of files. "
                f"Give it as {quoted_pattern(pattern, option)}.",
            )


def _is_known(pattern: str) -> bool:
    """Whether the pattern is the name of a model, or a word within one."""
    wider = f"*{pattern}*" if pattern.isidentifier() else pattern
    return bool(registry.list_models(wider, include_tags="." in pattern))


def _nothing_found(patterns: list[str], family: str, pretrained: bool) -> NotFoundError:
    if family and family not in registry.list_modules():
        return NotFoundError(
            f"No family is called {family!r}.", hint=_did_you_mean(family, registry.list_modules()) or "See `zoo list`."
        )
    wanted = " or ".join(map(repr, patterns)) or "the request"
    kind = "model with published weights" if pretrained else "model"
    place = f" in the family {family!r}" if family else ""
    return NotFoundError(
        f"No {kind}{place} matches {wanted}.", hint=_near_patterns(patterns) or "`zoo list` prints every name."
    )


def _no_row(names: list[str], condition: "Condition | None") -> NotFoundError:
    """The error for a condition that holds for none of the models; it names columns that are unknown for all."""
    from zoo.core.catalog.columns import COLUMNS, rows_of

    rows = rows_of(names)
    named = condition.columns if condition else ()
    unknown = [name for name in named if all(COLUMNS[name].value(row) is None for row in rows)]
    number = "the one model" if len(names) == 1 else f"any of {len(names):,} models"
    hint = "`zoo list --columns name,{}` prints the values.".format(",".join(named) or "params")
    return NotFoundError(
        f"The condition does not hold for {number}.",
        hint=f"Nothing is known about their {' and '.join(unknown)}." if unknown else hint,
    )


def _near_patterns(patterns: list[str]) -> str:
    for pattern in patterns:
        # A bare word matches only whole names: `resnet` is a family, not a model.
        if pattern.isidentifier() and registry.list_models(f"*{pattern}*"):
            return f"To find it anywhere in a name: --filter '*{pattern}*'."
    return _did_you_mean("".join(c for c in "".join(patterns[:1]) if c not in "*?[]"), registry.list_models())


def _did_you_mean(word: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else ""
