"""`zoo export-features`: multi-scale feature maps of photographs, as safetensors with a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import output
from zoo.cli.options import Json, ModelName, Quiet, Verbose
from zoo.core import registry
from zoo.core.errors import InvalidInputError, PartialError, UsageError

if TYPE_CHECKING:
    from zoo.core.export_features import ExportReport

FAILURES_TOLD = 10


def export_features(
    name: ModelName,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE_OR_FOLDER...", help="Photographs, or folders of them.")],
    out: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="Where the features go.")],
    out_indices: Annotated[
        str, typer.Option(metavar="I,J,...", help="Feature levels, see `zoo info NAME`; all if not given.")
    ] = "",
    weights: Annotated[str, typer.Option(metavar="FILE", help="Weight file instead of the published one.")] = "",
    in_chans: Annotated[
        int | None, typer.Option(metavar="N", help="Input channels of the model: 3, or 1 to read grey.")
    ] = None,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Images per forward pass.")] = 32,
    images_per_shard: Annotated[
        int | None, typer.Option(metavar="N", help="Images per safetensors file; as many as make 64 MiB if not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in the folder.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a model's feature maps of photographs to a folder.

    Images are prepared as the weights expect. FOLDER gets safetensors shards, manifest.jsonl (one line per image:
    shard and row, or why it failed) and config.json. Images that cannot be read are listed and passed over; the exit
    code is then 3.

    \b
    Examples:
      zoo export-features resnet34 photos/ --out-indices 2,3,4 -o features/
      zoo export-features resnet34 a.jpg b.png --weights grey.safetensors --in-chans 1 -o features/
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    levels = _parse_indices(out_indices)
    registry.resolve_name(name)  # before the seconds that torch takes to import

    from zoo.core.build import create_model
    from zoo.core.export_features import export_features as export
    from zoo.core.images import find_inputs
    from zoo.core.preprocess import Preprocess

    inputs = find_inputs(images)
    model = create_model(
        name,
        pretrained=not weights,
        checkpoint_path=weights or None,
        in_chans=in_chans,
        num_classes=0,
        features_only=True,
        out_indices=levels,
    )
    cfg = getattr(model, "pretrained_cfg", None) or {}
    with output.progress(len(inputs), "Exporting features") as advance:
        report = export(
            model,
            Preprocess.from_cfg(cfg, in_chans=getattr(model, "in_chans", in_chans or 3)),
            inputs,
            out,
            model_facts=_model_facts(name, cfg, weights),
            batch_size=batch_size,
            images_per_shard=images_per_shard,
            force=force,
            on_progress=advance,
        )
    _tell(report)


def _parse_indices(text: str) -> list[int] | None:
    if not text:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--out-indices takes whole numbers with commas between them, not {text!r}.",
            hint="E.g. --out-indices 2,3,4.",
        ) from None


def _model_facts(name: str, cfg: dict[str, Any], weights: str) -> dict[str, Any]:
    """What identifies the model in `config.json`."""
    if weights:
        import hashlib

        with Path(weights).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        source = {"source": f"file:{Path(weights).name}", "sha256": digest}
    else:
        places = (("package", cfg.get("package")), ("hf-hub", cfg.get("hf_hub_id")), ("url", cfg.get("url")))
        source = {"source": next((f"{kind}:{place}" for kind, place in places if place), "")}
    return {"architecture": cfg.get("architecture") or name, "tag": cfg.get("tag", ""), "weights": source}


def _tell(report: ExportReport) -> None:
    """Print what was done; raise for images that failed."""
    total = report.images + len(report.failed)
    for failed in report.failed[:FAILURES_TOLD]:
        output.note(failed.error)
    if len(report.failed) > FAILURES_TOLD:
        output.note(f"{len(report.failed) - FAILURES_TOLD} more failed.")
    if report.nonfinite_values:
        output.note(f"{report.nonfinite_images} images have {report.nonfinite_values} NaN or infinite features.")
    manifest = report.out_dir / "manifest.jsonl"
    if not report.images:
        raise InvalidInputError(
            f"No image could be read, of {total} given.", hint=f"{manifest} lists the reasons.", path=str(manifest)
        )
    values = report.to_dict()
    if output.settings.json:
        output.document(values)
    else:
        output.lines(_as_lines(values))
    if report.failed:
        raise PartialError(
            f"{len(report.failed)} of {total} images could not be read; the features of the others are written.",
            hint=f"{manifest} lists the reasons.",
            path=str(manifest),
        )


def _as_lines(values: dict[str, Any]) -> list[str]:
    lines = [f"{key}: {values[key]}" for key in ("out", "images", "shards")]
    lines.append(f"failed: {len(values['failed'])}")
    lines += [f"level: {' '.join(f'{k}={v}' for k, v in level.items())}" for level in values["levels"]]
    return lines if values["changed"] else [*lines, "unchanged"]
