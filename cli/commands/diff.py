"""`zoo diff`: the differences between two weight files, and their explanations."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import output
from zoo.cli.help_sections import INPUT
from zoo.cli.options import Json, Key, Quiet, Verbose, local_file
from zoo.core.errors import InvalidInputError

if TYPE_CHECKING:
    from zoo.core.files.stored_tensor import StoredTensor
    from zoo.core.inspection.diff import DiffReport, Pair


def diff(
    a: Annotated[
        Path, typer.Argument(metavar="A", readable=False, help="A weight file, an index of shards, or a folder.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", readable=False, help="The weight file to compare A with.")],
    key: Key = "",
    key_a: Annotated[str, typer.Option(metavar="PATH", rich_help_panel=INPUT, help="Use this --key for A alone.")] = "",
    key_b: Annotated[str, typer.Option(metavar="PATH", rich_help_panel=INPUT, help="Use this --key for B alone.")] = "",
    tolerance: Annotated[
        float,
        typer.Option(metavar="T", help="Take tensors as equal up to this absolute difference, whatever their dtypes."),
    ] = 0.0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare two weight files by names, shapes, dtypes and values, and explain the differences.

    The command can explain a prefix before all names, a cast, input channels adapted by one of zoo's methods, another
    classifier, and tables resized for another image size. Without --tolerance dtypes and every bit must be the same.
    The exit code is 0 if the files are equal and 4 if they differ, explained or not. File formats do not count.

    \b
    Examples:
      zoo diff resnet34.safetensors r34_25ch.safetensors
      zoo diff model.pth model.safetensors --tolerance 1e-3 --json
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    from zoo.core.files.open_weights import open_weights
    from zoo.core.inspection.diff import Checkpoint, diff_weights

    with (
        open_weights(local_file(a), key=key_a or key) as file_a,
        open_weights(local_file(b), key=key_b or key) as file_b,
    ):
        for side, opened in (("A", file_a), ("B", file_b)):
            for text in opened.notes():
                output.note(f"{side}: {text}")
        side_a, side_b = (Checkpoint(f.path, f.tensors, f.metadata, f.prefix) for f in (file_a, file_b))
        report = diff_weights(side_a, side_b, tolerance)
        file_a.require_unchanged()
        file_b.require_unchanged()
    if json:
        output.document(_as_json(report, tolerance))
    else:
        _tell(report)
    if not report.is_equal:
        raise InvalidInputError(f"{report.path_a} and {report.path_b} differ: {_summary(report)}.", path=report.path_b)


def _as_json(report: "DiffReport", tolerance: float) -> dict[str, object]:
    return {
        "a": report.path_a,
        "b": report.path_b,
        "equal": report.is_equal,
        "explained": report.is_explained,
        "tolerance": tolerance,
        "prefix_a": report.prefix_a,
        "prefix_b": report.prefix_b,
        "num_equal": report.num_equal,
        "counts": report.counts(),
        "explanations": report.explanations(),
        "tensors": [
            {
                "name": pair.name,
                "kind": pair.kind,
                "dtype_a": pair.a.dtype if pair.a else None,
                "shape_a": pair.a.shape if pair.a else None,
                "dtype_b": pair.b.dtype if pair.b else None,
                "shape_b": pair.b.shape if pair.b else None,
                "max_abs_difference": pair.difference.max_abs if pair.difference else None,
                "mean_abs_difference": pair.difference.mean_abs if pair.difference else None,
                "num_incomparable": pair.difference.num_incomparable if pair.difference else None,
                "explanation": pair.explanation or None,
            }
            for pair in report.pairs
        ],
    }


def _tell(report: "DiffReport") -> None:
    rows = [[p.name, p.kind, _stored(p.a), _stored(p.b), _difference(p), p.explanation] for p in report.pairs]
    if not output.on_terminal():
        output.lines(
            f"{name}: {kind}; A {a}, B {b}" + "".join(f"; {text}" for text in rest if text)
            for name, kind, a, b, *rest in rows
        )
    elif rows:
        output.table(("tensor", "differs in", "A", "B", "difference", "explanation"), rows)
    lines = [f"names in {side} begin with {p}" for side, p in (("A", report.prefix_a), ("B", report.prefix_b)) if p]
    lines += [f"{count} explained: {text}" for text, count in report.explanations().items()]
    verdict = f"differ: {_summary(report)}" if not report.is_equal else "are equal"
    output.lines([*lines, f"{report.path_a} and {report.path_b} {verdict}; {report.num_equal} equal tensors"])


def _summary(report: "DiffReport") -> str:
    parts = [f"{count} {kind}" for kind, count in report.counts().items()]
    parts += ["names with a prefix"] if report.prefix_a or report.prefix_b else []
    return f"{', '.join(parts)}, {'all' if report.is_explained else 'not all'} explained"


def _stored(tensor: "StoredTensor | None") -> str:
    return f"{tensor.dtype} {'x'.join(map(str, tensor.shape)) or 'scalar'}" if tensor else "none"


def _difference(pair: "Pair") -> str:
    found = pair.difference
    if found is None:
        return ""
    if found.max_abs is None or found.mean_abs is None:
        return "values of a dtype that is not decoded"
    told = f"max {found.max_abs:.3g}, mean {found.mean_abs:.3g}"
    return f"{told}, {found.num_incomparable} not finite" if found.num_incomparable else told
