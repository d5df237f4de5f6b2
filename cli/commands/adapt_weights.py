"""`zoo adapt-weights`: fit any checkpoint to a different number of input channels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zoo.cli import output
from zoo.cli.help_sections import CHANNELS, INPUT, MODEL, OUTPUT
from zoo.cli.options import (
    CastTo,
    Drop,
    DryRun,
    Ema,
    Force,
    Json,
    Key,
    NumClasses,
    Offline,
    Quiet,
    SourceSize,
    StripPrefix,
    Timeout,
    Verbose,
    Weights,
    complete_model_name,
    limit_network,
    local_file,
    local_source,
    parse_size,
    parse_source_size,
    read_class_indices,
)

if TYPE_CHECKING:
    from zoo.core.adapt.job import AdaptReport
    from zoo.core.adapt.plan import TensorChange
    from zoo.core.channels.sensors import Band

Method = Literal["repeat", "balanced", "mean", "zero", "luma", "spectral"]
Missing = Literal["nearest", "interpolate", "mean", "zero"]
Format = Literal["safetensors", "timm"]


def adapt_weights(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A model name, timm/name.tag, hf-hub:owner/repo, or the path or URL of weights.",
            autocompletion=complete_model_name,
        ),
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            rich_help_panel=OUTPUT,
            help="Write the result to this file, or with --format timm to this folder.",
        ),
    ],
    in_chans: Annotated[
        int | None,
        typer.Option(
            "--in-chans",
            metavar="N",
            rich_help_panel=CHANNELS,
            help="Adapt the input layer to N channels, 1 or more.",
        ),
    ] = None,
    bands: Annotated[
        str,
        typer.Option(
            metavar="B,...",
            rich_help_panel=CHANNELS,
            help="Name the bands of the images, in order, for example B2,B3,B4,NDVI. aux:NAME names a channel that is "
            "no band.",
        ),
    ] = "",
    sensor: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=CHANNELS,
            help="Name the sensor of these bands, for example sentinel2. Without --bands it stands for all "
            "bands of its multispectral image.",
        ),
    ] = "",
    method: Annotated[
        Method,
        typer.Option(rich_help_panel=CHANNELS, help="Choose how the new filters are made; spectral needs --bands."),
    ] = "repeat",
    missing_bands: Annotated[
        Missing,
        typer.Option(
            rich_help_panel=CHANNELS, help="Choose the filters of bands that the source has no counterpart for."
        ),
    ] = "nearest",
    from_bands: Annotated[
        str,
        typer.Option(
            metavar="B,...",
            rich_help_panel=CHANNELS,
            help="Name the bands that the source reads. By default they are red,green,blue if it reads three.",
        ),
    ] = "",
    from_sensor: Annotated[
        str,
        typer.Option(metavar="NAME", rich_help_panel=CHANNELS, help="Name the sensor of the source's bands."),
    ] = "",
    input_layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=CHANNELS,
            help="Name a layer that reads the image; repeatable. NAME=N gives this layer N channels of its own.",
        ),
    ] = None,
    input_layout: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            rich_help_panel=CHANNELS,
            help="State how the channels lie in the input layer's weight: conv, groups:G, blocks:B or planes:B.",
        ),
    ] = "",
    weights: Weights = None,
    key: Key = "",
    ema: Ema = True,
    strip_prefix: StripPrefix = "",
    drop: Drop = None,
    source_size: SourceSize = "",
    max_header: Annotated[
        int,
        typer.Option(
            metavar="BYTES", rich_help_panel=INPUT, help="Refuse a safetensors header that is longer than this."
        ),
    ] = 25_000_000,
    num_classes: NumClasses = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="S", rich_help_panel=MODEL, help="Use this seed for the initial values of a new classifier."
        ),
    ] = 0,
    keep_classes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=MODEL,
            help="Keep only the classes that this file lists: row numbers of the classifier, one per line.",
        ),
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", rich_help_panel=MODEL, help="Name the layer that is the classifier; repeatable."),
    ] = None,
    img_size: Annotated[
        str,
        typer.Option(
            metavar="S|H,W",
            rich_help_panel=MODEL,
            help="Resize the position embeddings for images of this size in pixels.",
        ),
    ] = "",
    patch_size: Annotated[
        int | None,
        typer.Option(metavar="P", rich_help_panel=MODEL, help="Resize the patch embedding to patches of PxP pixels."),
    ] = None,
    file_format: Annotated[
        Format,
        typer.Option(
            "--format",
            rich_help_panel=OUTPUT,
            help="Write one safetensors file, or a folder that timm reads as local-dir:.",
        ),
    ] = "safetensors",
    force: Force = False,
    dry_run: DryRun = False,
    dtype: CastTo = None,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", rich_help_panel=OUTPUT, help="Put TEXT before the name of every tensor.")
    ] = "",
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            rich_help_panel=OUTPUT,
            help="Read the written bytes back and prove that nothing was lost and that every new filter is right.",
        ),
    ] = False,
    min_coverage: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            rich_help_panel=OUTPUT,
            help="Fail if less than this share of the source, 0 to 1, reaches the file.",
        ),
    ] = 0.0,
    fail_on_nonfinite: Annotated[
        bool,
        typer.Option(
            "--fail-on-nonfinite",
            rich_help_panel=OUTPUT,
            help="Fail if the file would hold NaN or infinite values.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG", rich_help_panel=OUTPUT, help="Draw the filters before and after into this picture."
        ),
    ] = None,
    sync: Annotated[
        bool,
        typer.Option("--sync/--no-sync", rich_help_panel=OUTPUT, help="Wait until the file is safe on the disk."),
    ] = True,
    offline: Offline = False,
    timeout: Timeout = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Fit a checkpoint to any number of input channels.

    By default a layer for one channel gets the sum of the source's filters. A layer for several channels gets the
    source's filters in turn, repeated or cut, and scaled by source channels / N, as timm does. Every other tensor keeps
    its bytes. The file states its own configuration, so create and export-features need no flags for it.
    The documentation has a page on it, "Adapting an input layer": methods, bands, and what --verify proves.

    \b
    Examples:
      zoo adapt-weights resnet34 --in-chans 25 -o r34_25ch.safetensors
      zoo adapt-weights resnet34 --weights r34.pth --in-chans 1 -o g.safetensors
      zoo adapt-weights resnet34 --bands B2,B3,B4,B8 --verify -o s2.safetensors
      zoo adapt-weights resnet50 --bands B2,B3,B4,NDVI,DEM -o ndvi.safetensors
      zoo adapt-weights resnet18 --method spectral --bands 450nm,550nm -o two.st
      zoo adapt-weights vit_tiny_patch16_224 --img-size 128,512 -o v.safetensors
      zoo adapt-weights net.pth --in-chans 9 --method balanced --format timm -o d
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    limit_network(offline=offline, timeout=timeout)
    from zoo.core.adapt.job import OutputRequest
    from zoo.core.adapt.request import AdaptRequest
    from zoo.core.adapt.sources import adapt_weights as adapt
    from zoo.core.channels.input_layers import InputLayout

    request = AdaptRequest(
        in_chans=in_chans,
        method=method,
        bands=_bands(bands, sensor),
        from_bands=_bands(from_bands, from_sensor),
        missing_bands=missing_bands,
        num_classes=num_classes,
        seed=seed,
        keep_classes=read_class_indices(keep_classes) if keep_classes else (),
        img_size=parse_size(img_size) if img_size else None,
        patch_size=patch_size,
        source_size=parse_source_size(source_size),
        dtype=dtype or "",
        prefix=prefix,
        strip_prefix=strip_prefix,
        drop=tuple(drop or ()),
        input_layers=tuple(input_layer or ()),
        input_layout=InputLayout.parse(input_layout) if input_layout else None,
        classifier=tuple(classifier or ()),
    )
    written = OutputRequest(
        path=target,
        file_format=file_format,
        force=force,
        dry_run=dry_run,
        sync=sync,
        verify=verify,
        min_coverage=min_coverage,
        fail_on_nonfinite=fail_on_nonfinite,
        plot=plot,
    )
    weights = weights and local_file(weights)
    report = adapt(local_source(source), request, written, weights=weights, use_ema=ema, key=key, max_header=max_header)
    for text in report.notes:
        output.note(text)
    if json:
        output.document(_as_json(report))
    else:
        output.lines(_as_lines(report))


def _bands(names: str, sensor: str) -> "tuple[Band, ...]":
    if not (names or sensor):
        return ()
    from zoo.core.channels.bands import assumed_sensor, parse_bands

    assumed = assumed_sensor(names or None, sensor or None)
    if assumed:
        output.note(f"{names} was taken for bands of {assumed}; name another with --sensor")
    return parse_bands(names or None, sensor or None)


def _as_json(report: "AdaptReport") -> dict[str, object]:
    return {
        "status": report.status,
        "source": report.source,
        "output": report.output,
        "architecture": report.architecture,
        "bytes": report.nbytes,
        "from_chans": report.from_chans,
        "in_chans": report.in_chans,
        "num_classes": report.num_classes,
        "method": report.method,
        "gains": report.gains,
        "bands": report.bands,
        "coverage": report.coverage,
        "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in report.checks],
        "tensors": report.counts(),
        "changes": [
            {
                "name": c.name,
                "action": c.action,
                "shape": c.shape if c.dtype else None,
                "dtype": c.dtype or None,
                "new_name": c.new_name or None,
                "new_shape": c.new_shape or None,
                "new_dtype": c.new_dtype or None,
            }
            | ({"reason": c.reason} if c.reason else {})
            for c in report.changes
            if c.action not in ("copy", "cast")
        ],
    }


def _as_lines(report: "AdaptReport") -> list[str]:
    verb = {"written": "written", "unchanged": "unchanged, it holds this already", "planned": "would be written"}
    lines = [f"{report.output}: {verb[report.status]}, {output.count(report.nbytes)}B"]
    lines += [f"  {_told(c, report)}" for c in report.changes if c.action not in ("copy", "cast", "drop")]
    lines += _dropped_lines(report)
    counts = report.counts()
    if "cast" in counts:
        lines.append(f"  {counts['cast']} tensors cast to {report.dtype}")
    lines.append(f"  {counts.get('copy', 0)} tensors copied unchanged from {report.source}")
    lines += [f"  band {text}" for text in report.bands]
    if any(abs(gain - 1) > 1e-6 for gain in report.gains):
        shown = ", ".join(f"{gain:.3g}" for gain in report.gains[:16])
        lines.append(f"  each source channel counts {shown}{' ...' if len(report.gains) > 16 else ''} times")
    lines += [f"  verified: {c.name}: {c.detail}" for c in report.checks]
    return lines


def _dropped_lines(report: "AdaptReport") -> list[str]:
    """Lines about dropped tensors: one per reason, or with --verbose one per tensor."""
    by_reason: dict[str, list[TensorChange]] = {}
    for change in report.changes:
        if change.action == "drop":
            by_reason.setdefault(change.reason, []).append(change)
    if output.settings.verbose:
        told = [c for changes in by_reason.values() for c in changes]
        return [f"  {c.name}: {_shape(c.shape)} dropped; {c.reason}" for c in told]
    return [f"  {output.tensor_names([c.name for c in cs])}: dropped; {reason}" for reason, cs in by_reason.items()]


def _told(change: "TensorChange", report: "AdaptReport") -> str:
    before, after = _shape(change.shape), _shape(change.new_shape)
    told = {
        "adapt": f"{before} -> {after}, {report.method}",
        "resize": f"{before} -> {after}, resized",
        "select": f"{before} -> {after}, classes kept",
        "new": f"{f'{before} -> ' if change.dtype else ''}{after}, new",
    }
    return f"{change.name}: {told[change.action]}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
