"""`zoo convert`: convert a checkpoint to a different key layout, dtype or file format."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import output
from zoo.cli.help_sections import INPUT, OUTPUT
from zoo.cli.options import (
    CastTo,
    Drop,
    DryRun,
    Ema,
    Force,
    Json,
    Key,
    Quiet,
    SourceSize,
    StripPrefix,
    Verbose,
    complete_model_name,
    local_source,
    parse_source_size,
)

if TYPE_CHECKING:
    from zoo.core.convert.job import ConvertReport


def complete_layout(incomplete: str) -> list[str]:
    """Layouts that begin with the typed text."""
    from zoo.core.layouts.engine import LAYOUTS

    return [layout for layout in ("timm", *LAYOUTS) if layout.startswith(incomplete)]


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A weight file: safetensors, .pth, .bin, .npz, .onnx, .pt2, or an index of shards."
        ),
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            readable=False,
            rich_help_panel=OUTPUT,
            help="Write the result to this file, .safetensors or .npz.",
        ),
    ],
    from_layout: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="LAYOUT",
            rich_help_panel=INPUT,
            help="State the key layout of the source. By default it is found by the keys.",
            autocompletion=complete_layout,
        ),
    ] = "",
    architecture: Annotated[
        str,
        typer.Option(
            "--arch",
            metavar="NAME",
            rich_help_panel=INPUT,
            help="State timm's name of the architecture. By default it is found by keys and shapes.",
            autocompletion=complete_model_name,
        ),
    ] = "",
    key: Key = "",
    ema: Ema = True,
    strip_prefix: StripPrefix = "",
    drop: Drop = None,
    source_size: SourceSize = "",
    to_layout: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="LAYOUT",
            rich_help_panel=OUTPUT,
            help="Write the keys of this layout, by default timm.",
            autocompletion=complete_layout,
        ),
    ] = "",
    dtype: CastTo = None,
    fuse: Annotated[
        bool,
        typer.Option(
            "--fuse",
            rich_help_panel=OUTPUT,
            help="Join parallel branches and norms into single layers for inference, and prove that outputs stay.",
        ),
    ] = False,
    canonical: Annotated[
        bool,
        typer.Option(
            "--canonical",
            rich_help_panel=OUTPUT,
            help="Write the same bytes for the same weights, whether they came in one file, in shards, .npz or .h5.",
        ),
    ] = False,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Convert a checkpoint to another key layout, dtype or file format.

    Layouts run both ways and keep every bit; "Key layouts" in the documentation lists them. A file in timm's layout
    states its architecture, so create and export-features need no flags for it. A prefix that a wrapper put before all
    names (`model.`) is removed. If a file holds several networks, --key or --strip-prefix takes one. Any file can be
    given another dtype or file format. --fuse gives networks like RepVGG, MobileOne and RepViT the form that they are
    published in for inference: computed in float64, compared with the source, under timm's keys. The exit code is 4 if
    only names could change and zoo does not know them.

    \b
    Examples:
      zoo convert vit_b_16-c867db91.pth -o vit.safetensors
      zoo convert vit.safetensors --to torchvision -o back.safetensors
      zoo convert checkpoint.pth --dtype float16 -o half.npz
      zoo convert mobileone_s0.pth --fuse -o fused.safetensors
      zoo convert dino.pth --key teacher --strip-prefix backbone. -o dino.npz
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    from zoo.core.files.atomic_output import refuse_pipe

    refuse_pipe(target)
    from zoo.core.convert.job import ConvertRequest
    from zoo.core.convert.job import convert as run

    request = ConvertRequest(
        output=target,
        from_layout=from_layout,
        to_layout=to_layout,
        architecture=architecture,
        strip_prefix=strip_prefix,
        drop=tuple(drop or ()),
        dtype=dtype or "",
        fuse=fuse,
        canonical=canonical,
        source_size=parse_source_size(source_size),
        use_ema=ema,
        key=key,
        force=force,
        dry_run=dry_run,
    )
    report = run(local_source(source), request)
    for text in report.notes:
        output.note(text)
    if json:
        output.document(_as_json(report))
    else:
        output.lines(_as_lines(report))


def _as_json(report: "ConvertReport") -> dict[str, object]:
    return {
        "status": report.status,
        "source": report.source,
        "output": report.output,
        "from": report.from_layout,
        "to": report.to_layout,
        "architecture": report.architecture or None,
        "model_args": dict(report.model_args),
        "tensors": report.tensors,
        "renamed": report.renamed,
        "cast": report.cast,
        "dropped": dict(report.dropped),
        "bytes": report.nbytes,
        "fused": report.fused and {"difference": report.fused.difference, "rounding": report.fused.rounding},
    }


def _as_lines(report: "ConvertReport") -> list[str]:
    verb = {"written": "written", "unchanged": "unchanged, it holds this already", "planned": "would be written"}
    layouts = (
        report.to_layout if report.from_layout == report.to_layout else f"{report.from_layout} -> {report.to_layout}"
    )
    held = f", {report.architecture}" if report.architecture else ""
    lines = [
        f"{report.output}: {verb[report.status]}, {output.count(report.nbytes)}B",
        f"  {layouts}{held}: {report.tensors} tensors, {report.renamed} renamed",
    ]
    if report.fused:
        lines.append(
            f"  fused: outputs differ by {report.fused.difference:.1e} of the largest in float64,"
            f" by {report.fused.rounding:.1e} as written"
        )
    if report.cast:
        lines.append(f"  {report.cast} tensors cast")
    for reason in dict.fromkeys(report.dropped.values()):
        names = [name for name, why in report.dropped.items() if why == reason]
        lines.append(f"  {output.tensor_names(names)}: left out; {reason}")
    return lines
