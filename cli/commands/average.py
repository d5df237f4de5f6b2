"""`zoo average`: average the weights of several files of one architecture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import output
from zoo.cli.help_sections import OUTPUT
from zoo.cli.options import CastTo, DryRun, Force, Json, Key, Quiet, Verbose, local_source
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.core.average.job import AverageReport


def average(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Two or more weight files with the same tensors."),
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            readable=False,
            rich_help_panel=OUTPUT,
            help="Write the average to this file, .safetensors or .npz.",
        ),
    ],
    weights: Annotated[
        str,
        typer.Option(
            "--weights", metavar="W,W,...", help="Give each file this weight; the weights are divided by their sum."
        ),
    ] = "",
    decay: Annotated[
        float | None,
        typer.Option(
            "--ema",
            metavar="DECAY",
            help="Take the exponential moving average over the files in their order, the oldest first.",
        ),
    ] = None,
    key: Key = "",
    dtype: CastTo = None,
    sync: Annotated[
        bool,
        typer.Option("--sync/--no-sync", rich_help_panel=OUTPUT, help="Wait until the file is safe on the disk."),
    ] = True,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Average the weights of several files of one architecture.

    The sums are float64, and the files are streamed, so any number of files needs little memory. Every tensor must have
    the same name and shape in all files. Integers must be equal, and of batch counters the largest is taken. The
    statistics of batch norms are averaged like weights, which a note says: they are best measured again afterwards.

    \b
    Examples:
      zoo average epoch_1.pth epoch_2.pth epoch_3.pth -o a3.safetensors
      zoo average a.safetensors b.safetensors --weights 7,3 -o c.safetensors
      zoo average epoch_1.pth epoch_2.pth epoch_3.pth --ema 0.9 -o e.safetensors
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    from zoo.core.files.atomic_output import refuse_pipe

    refuse_pipe(target)
    from zoo.core.average.job import AverageRequest
    from zoo.core.average.job import average as run

    request = AverageRequest(
        output=target,
        weights=_numbers(weights),
        decay=decay,
        dtype=dtype or "",
        key=key,
        force=force,
        dry_run=dry_run,
        sync=sync,
    )
    report = run([local_source(source) for source in sources], request)
    for text in report.notes:
        output.note(text)
    if json:
        output.document(_as_json(report))
    else:
        output.lines(_as_lines(report))


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(
            f"--weights takes numbers with commas between them, found {text!r}.", hint="For example: 0.5,0.3,0.2"
        ) from None


def _as_json(report: "AverageReport") -> dict[str, object]:
    return {
        "status": report.status,
        "sources": list(report.sources),
        "output": report.output,
        "shares": list(report.shares),
        "architecture": report.architecture or None,
        "averaged": report.averaged,
        "copied": report.copied,
        "batch_norms": report.batch_norms,
        "bytes": report.nbytes,
    }


def _as_lines(report: "AverageReport") -> list[str]:
    verb = {"written": "written", "unchanged": "unchanged, it holds this already", "planned": "would be written"}
    of = f" of {report.architecture}" if report.architecture else ""
    copied = f", {report.copied} copied" if report.copied else ""
    return [
        f"{report.output}: {verb[report.status]}, {output.count(report.nbytes)}B",
        f"  {report.averaged} tensors{of} averaged{copied}",
        *(f"  {share:.4g} of {source}" for share, source in zip(report.shares, report.sources, strict=True)),
    ]
