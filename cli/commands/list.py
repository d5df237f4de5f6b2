"""`zoo list`: the available models."""

import os
from typing import Annotated, Literal

import typer

from zoo.cli import output
from zoo.cli.options import Json, Quiet, Verbose, complete_family, complete_model_name, quoted_pattern
from zoo.core.architectures import registry
from zoo.core.architectures.model_facts import ModelFacts
from zoo.core.errors import NotFoundError, UsageError

Sort = Literal["name", "params", "macs"]


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
    sort: Annotated[Sort, typer.Option(help="Sort by name, by parameters or by MACs.")] = "name",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List models: a table on a terminal, one name per line in a pipe.

    Patterns are shell wildcards, so quote them. A pattern with a dot matches name.tag. A pattern without a dot matches
    the name alone.

    \b
    Examples:
      zoo list --filter 'resnet*' --exclude '*d' --sort macs
      zoo list --pretrained --filter '*.a1_in1k'
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    if context.args:
        raise _stray_words(context.args)
    _refuse_file_names("--filter", patterns or [])
    _refuse_file_names("--exclude", excludes or [])
    names = registry.list_models(patterns or "", family, pretrained=pretrained, exclude_filters=excludes or "")
    if not names:
        raise _nothing_found(patterns or [], family, pretrained)
    if sort == "name" and not json and not output.on_terminal():
        output.lines(names)
        return
    models = [(name, registry.facts(name.partition(".")[0])) for name in names]
    if sort == "params":
        models.sort(key=lambda model: model[1].params)
    elif sort == "macs":
        models.sort(key=lambda model: (model[1].macs is None, model[1].macs))

    if json:
        output.document({"models": [_as_json(name, facts) for name, facts in models]})
    elif output.on_terminal():
        rows = (_as_row(name, facts) for name, facts in models)
        output.table(("name", "params", "MACs", "input", "stage channels"), rows, right=("params", "MACs", "input"))
    else:
        output.lines(name for name, _ in models)


def _as_json(name: str, facts: ModelFacts) -> dict[str, object]:
    return facts.to_dict() | {"name": name, "architecture": facts.name, "tag": name.partition(".")[2]}


def _as_row(name: str, facts: ModelFacts) -> tuple[str, ...]:
    return (
        name,
        output.count(facts.params),
        "?" if facts.macs is None else output.count(facts.macs),
        "x".join(map(str, facts.input_size)),
        " ".join(str(level.channels) for level in facts.levels),
    )


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
