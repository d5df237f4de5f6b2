"""`zoo check`: whether weights would load into a model."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import output
from zoo.cli.options import (
    NAME_HELP,
    InChans,
    Json,
    Key,
    NumClasses,
    Quiet,
    SourceSize,
    Verbose,
    complete_model_name,
    local_file,
    parse_source_size,
    refuse_file_names,
)
from zoo.core.errors import InvalidInputError

if TYPE_CHECKING:
    from zoo.core.model.check import CheckReport

BATCH_COUNTER = ".num_batches_tracked"


def check(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help=NAME_HELP, autocompletion=complete_model_name),
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", readable=False, help="A weight file, an index of shards, or a folder.")
    ],
    key: Key = "",
    in_chans: InChans = None,
    num_classes: NumClasses = None,
    source_size: SourceSize = "",
    min_coverage: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Demand that at least this share of the model's values, 0 to 1, comes from the file. By default "
            "it is all but what is allowed.",
        ),
    ] = None,
    allow_missing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Allow the file to lack tensors whose names match, for example 'head.*'; repeatable.",
        ),
    ] = None,
    allow_unexpected: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Allow tensors that the model has no place for, if their names match; repeatable.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tell whether a weight file would load into a model, tensor by tensor.

    The command decides as `zoo create MODEL --weights FILE` does, and reads no tensor. Channels and classes are those
    that the file states or its tensors show, else the model's default. With --num-classes a classifier of another size
    is dropped. The exit code is 0 if the file fits and 4 if it does not. The report is printed either way.

    \b
    Examples:
      zoo check resnet34 r34_25ch.safetensors
      zoo check resnet50 tuned.pth --num-classes 10 --allow-missing 'fc.*'
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    refuse_file_names([model])
    from zoo.core.model.check import CheckRequest, check_weights

    request = CheckRequest(
        model_name=model,
        in_chans=in_chans,
        num_classes=num_classes,
        min_coverage=min_coverage,
        allow_missing=tuple(allow_missing or ()),
        allow_unexpected=tuple(allow_unexpected or ()),
        source_size=parse_source_size(source_size),
        key=key,
    )
    report = check_weights(local_file(file), request)
    for text in report.notes:
        output.note(text)
    if json:
        output.document(_as_json(report))
    else:
        _tell(report)
    if not report.fits:
        raise InvalidInputError(report.problem, hint=_hint(report), path=report.path)


def _hint(report: "CheckReport") -> str:
    found = report.identity
    if found and found.strays and report.model_name.partition(".")[0] in found.architectures:
        strays = " ".join(f"--allow-unexpected {shlex.quote(name)}" for name in found.strays[:3])
        return f"The tensors of {report.model_name} are all there, with others beside them: {strays}"
    if report.hint:
        return report.hint
    return (
        "Name the model that the file was made for, or what may differ: --allow-missing, --allow-unexpected,"
        " --num-classes."
    )


def _as_json(report: "CheckReport") -> dict[str, object]:
    return {
        "model": report.model_name,
        "path": report.path,
        "fits": report.fits,
        "problem": report.problem or None,
        "in_chans": report.in_chans,
        "num_classes": report.num_classes,
        "coverage": report.coverage,
        "identity": report.identity.to_dict() if report.identity else None,
        "counts": report.counts(),
        "tensors": [
            {
                "name": tensor.name,
                "outcome": tensor.outcome,
                "allowed": tensor.allowed,
                "dtype": tensor.dtype or None,
                "shape": tensor.shape if tensor.dtype else None,
                "model_dtype": tensor.model_dtype or None,
                "model_shape": tensor.model_shape if tensor.model_dtype else None,
            }
            for tensor in report.tensors
        ],
    }


def _tell(report: "CheckReport") -> None:
    # Old checkpoints lack all batch counters: their number says enough.
    told = [t for t in report.tensors if t.outcome != "loaded" and not (t.allowed and t.name.endswith(BATCH_COUNTER))]
    rows = [[t.name, t.outcome, _stored(t.dtype, t.shape), _stored(t.model_dtype, t.model_shape)] for t in told]
    if not output.on_terminal():
        output.lines(f"{name}: {outcome}; file {stored}, model {wanted}" for name, outcome, stored, wanted in rows)
    elif rows:
        output.table(("tensor", "outcome", "in the file", "in the model"), rows)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in report.counts().items())
    verdict = "fits" if report.fits else "does not fit"
    model = f"{report.model_name} with {report.in_chans} channels and {report.num_classes} classes"
    output.lines([f"{report.path} {verdict} {model}: {counts}; coverage {report.coverage:.2%}"])


def _stored(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype} {'x'.join(map(str, shape)) or 'scalar'}" if dtype else "none"
