"""`zoo adapt-weights`: published weights for another number of input channels."""

from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import output
from zoo.cli.options import Force, Json, ModelName, NumClasses, Output, Quiet, Verbose, Weights, pretrained_cfg

if TYPE_CHECKING:
    from zoo.core.adapt_file import AdaptReport, TensorChange


def adapt_weights(
    name: ModelName,
    in_chans: Annotated[int, typer.Option("--in-chans", metavar="N", help="Channels of the images, 1 or more.")],
    target: Output,
    weights: Weights = None,
    num_classes: NumClasses = None,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Fit pretrained weights to any number of input channels.

    One channel gets the sum of the source filters; more get them repeated, cut, and scaled by source / N. Every other
    tensor keeps its bytes. The file says what it is in its metadata, so create and export-features need no flags.

    \b
    Examples:
      zoo adapt-weights resnet34 --in-chans 25 -o r34_25ch.safetensors
      zoo adapt-weights resnet34 --weights mine.pth --in-chans 1 -o grey.safetensors --dry-run
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    from dataclasses import replace

    from zoo.core.adapt_weights import adapt_weights as adapt

    cfg = pretrained_cfg(name)
    if weights is not None:
        cfg = replace(cfg, file=str(weights), tag="", key_layout="", sha256="")
    report = adapt(cfg, target, in_chans=in_chans, num_classes=num_classes, force=force, dry_run=dry_run)
    changed = [change for change in report.changes if change.action != "copy"]
    if json:
        output.document(_as_json(report, changed))
    else:
        output.lines(_as_lines(report, changed))


def _as_json(report: "AdaptReport", changed: "list[TensorChange]") -> dict[str, object]:
    return {
        "status": report.status,
        "source": report.source,
        "output": report.output,
        "bytes": report.nbytes,
        "from_chans": report.from_chans,
        "in_chans": report.in_chans,
        "num_classes": report.num_classes,
        "method": report.method,
        "tensors": report.counts(),
        "changes": [
            {"name": c.name, "action": c.action, "shape": c.shape, "new_shape": c.new_shape or None} for c in changed
        ],
    }


def _as_lines(report: "AdaptReport", changed: "list[TensorChange]") -> list[str]:
    verb = {"written": "written", "unchanged": "unchanged, it holds this already", "planned": "would be written"}
    lines = [f"{report.output}: {verb[report.status]}, {output.count(report.nbytes)}B"]
    for c in changed:
        if c.action == "adapt":
            lines.append(f"  {c.name}: {_shape(c.shape)} -> {_shape(c.new_shape)}, {report.method}")
        else:
            lines.append(f"  {c.name}: {_shape(c.shape)} dropped; loading makes a new classifier")
    copied = report.counts()["copy"]
    lines.append(f"  {copied} tensors copied unchanged from {report.source}")
    return lines


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
