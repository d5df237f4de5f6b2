"""`zoo export-features`: multi-scale feature maps of photographs, as safetensors with a manifest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import output
from zoo.cli.options import (
    Force,
    InChans,
    Json,
    ModelName,
    Offline,
    OutIndices,
    Quiet,
    Timeout,
    Verbose,
    Weights,
    limit_network,
    parse_indices,
    pretrained_cfg,
)
from zoo.core import registry
from zoo.core.errors import InvalidInputError, PartialError

if TYPE_CHECKING:
    from zoo.core.export_features import ExportReport

FAILURES_TOLD = 10


def export_features(
    name: ModelName,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE_OR_FOLDER...", help="Photographs, or folders of them.")],
    out: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the features go.")],
    out_indices: OutIndices = "",
    weights: Weights = None,
    in_chans: InChans = None,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Images per forward pass.")] = 32,
    images_per_shard: Annotated[
        int | None, typer.Option(metavar="N", help="Images per safetensors file; as many as make 64 MiB if not given.")
    ] = None,
    offline: Offline = False,
    timeout: Timeout = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a model's feature maps of photographs to a folder.

    Images are prepared as the weights expect; without --out-indices every level is written. FOLDER gets safetensors
    shards, manifest.jsonl (one line per image: shard and row, or why it failed) and config.json. Images that cannot
    be read are listed and passed over; the exit code is then 3.

    \b
    Examples:
      zoo export-features resnet34 photos/ --out-indices 2,3,4 -o features/
      zoo export-features resnet34 a.jpg b.png --weights r34_grey.safetensors -o features/
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    limit_network(offline=offline, timeout=timeout)
    levels = parse_indices(out_indices)
    cfg = pretrained_cfg(name)  # before the seconds that torch takes to import
    if weights is None:
        registry.require_weights(cfg)

    from zoo.core.build import create_model
    from zoo.core.export_features import export_features as export
    from zoo.core.images import find_inputs
    from zoo.core.preprocess import Preprocess

    inputs = find_inputs(images)
    model = create_model(
        cfg.name,
        pretrained=weights is None,
        checkpoint_path=weights,
        in_chans=in_chans,
        num_classes=0,
        features_only=True,
        out_indices=levels,
    )
    with output.progress(len(inputs), "Exporting features") as advance:
        report = export(
            model,
            Preprocess.from_cfg(model.pretrained_cfg, in_chans=model.in_chans),
            inputs,
            out,
            model_facts=_model_facts(model.pretrained_cfg, weights),
            batch_size=batch_size,
            images_per_shard=images_per_shard,
            force=force,
            on_progress=advance,
        )
    _tell(report)


def _model_facts(cfg: dict[str, Any], weights: Path | None) -> dict[str, Any]:
    """What identifies the model in `config.json`."""
    if weights is not None:
        import hashlib

        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        source = {"source": f"file:{weights.name}", "sha256": digest}
    else:
        places = (("package", cfg["package"]), ("hf-hub", cfg["hf_hub_id"]), ("url", cfg["url"]))
        source = {"source": next((f"{kind}:{place}" for kind, place in places if place), "")}
    return {"architecture": cfg["architecture"], "tag": cfg["tag"], "weights": source}


def _tell(report: "ExportReport") -> None:
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
