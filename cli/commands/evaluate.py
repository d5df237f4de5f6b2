"""`zoo evaluate`: top-1 and top-5 accuracy over images with labels."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from zoo.cli import output
from zoo.cli.errors import end_soon_after_signals
from zoo.cli.export_options import (
    AllowVrt,
    Axes,
    BandChoice,
    BatchSize,
    Classes,
    Device,
    EvaluatedImages,
    Frames,
    Geo,
    LabelColumn,
    MaxPixels,
    Mean,
    ModelKey,
    ModelSourceSize,
    ModelWeights,
    NoData,
    NpzKey,
    OnError,
    Pages,
    Precision,
    RetryFailed,
    Scale,
    Std,
    Workers,
    parse_scale,
    parse_values,
)
from zoo.cli.help_sections import INPUT, OUTPUT
from zoo.cli.options import (
    Force,
    InChans,
    Json,
    Offline,
    Quiet,
    Timeout,
    Verbose,
    complete_model_name,
    limit_network,
    local_file,
    parse_source_size,
    pretrained_cfg,
)
from zoo.core.architectures import registry
from zoo.core.errors import InvalidInputError, NotFoundError, PartialError, UsageError
from zoo.core.export.devices import names_several
from zoo.core.export.evaluation import CONFIDENCE, Evaluation, Share, prediction_lines, results_of
from zoo.core.export.evaluation import evaluate as count
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.plan import FeatureStorage
from zoo.core.export.run import ON_ERROR, ExportReport, pending_shards, report_of, run_shards
from zoo.core.files.atomic_output import atomic_output, refuse_pipe
from zoo.core.images.inputs.labels import (
    class_numbers,
    labels_from_table,
    labels_of_folders,
    read_class_names,
    read_labels,
)
from zoo.core.images.inputs.selection import describe_passed_over
from zoo.core.images.rasters.options import NODATA

FAILURES_TOLD = 10
_TABLES = (".csv", ".tsv", ".tab", ".parquet")


class _Source(NamedTuple):
    """The images to read: a table, or folders and archives."""

    paths: tuple[str, ...]
    table: str
    column: str


@end_soon_after_signals()
def evaluate(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A model as in `zoo info`, or a weight file that tells which model it is of.",
            autocompletion=complete_model_name,
        ),
    ],
    images: EvaluatedImages = None,
    column: Annotated[
        str,
        typer.Option(metavar="NAME", rich_help_panel=INPUT, help="Take the paths of a table from this column."),
    ] = "path",
    label_column: LabelColumn = "label",
    classes: Classes = None,
    on_error: OnError = "skip",
    retry_failed: RetryFailed = False,
    bands: BandChoice = "",
    scale: Scale = "",
    mean: Mean = "",
    std: Std = "",
    nodata: NoData = "mean",
    pages: Pages = "auto",
    axes: Axes = "auto",
    npz_key: NpzKey = "",
    frames: Frames = "",
    geo: Geo = False,
    allow_vrt: AllowVrt = False,
    max_pixels: MaxPixels = None,
    weights: ModelWeights = None,
    key: ModelKey = "",
    source_size: ModelSourceSize = "",
    in_chans: InChans = None,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
    precision: Precision = "float32",
    workers: Workers = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            rich_help_panel=OUTPUT,
            help="Keep the logits in this folder; the same command then completes a run that was cut off.",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            readable=False,
            rich_help_panel=OUTPUT,
            help="Write a line of JSON for each image: label, predicted class, and the rank of the label.",
        ),
    ] = None,
    force: Force = False,
    offline: Offline = False,
    timeout: Timeout = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure how often the label of an image has a model's highest logit, or one of the five highest.

    Images are prepared as the weights expect, and may have any number of bands. Each share comes with the interval that
    it supports with 95 % confidence (Wilson's).

    Labels are the names of the folders of classes, or a column of a table. They are the numbers of classes; or WordNet
    ids, for a model of ImageNet's 1000 classes; or names in the order of --classes, or of the config.json beside the
    weights of a named repository or folder. Any other names count as the classes in alphabetical order, if there are as
    many of them as the model has classes.

    \b
    Examples:
      zoo evaluate resnet18 val/
      zoo evaluate resnet18 val.csv --label-column class -o evaluated/
      zoo evaluate r34_25ch.safetensors cubes/ --classes classes.txt --json
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    output.catch_native_stderr()
    limit_network(offline=offline, timeout=timeout)
    for path in (out, predictions):
        if path is not None:
            refuse_pipe(path)
    weights = weights and local_file(weights)
    for option, value, choices in (("--on-error", on_error, ON_ERROR), ("--nodata", nodata, NODATA)):
        if value not in choices:
            raise UsageError(f"{option} takes one of {', '.join(choices)}, found {value!r}.")
    if names_several(device):
        raise UsageError(
            f"Logits are compared with labels on one device, and --device names several: {device!r}.",
            hint="Choose one, for example --device cuda:0.",
        )
    source = _source(images or [], column)
    counts_as_one = parse_scale(scale)
    names = None if classes is None else read_class_names(classes)
    if key and weights is None and not os.path.isfile(name):
        raise UsageError("--key is about a weight file.", hint="Name it: --weights FILE.")
    if weights is None and os.path.isfile(name) and not registry.is_model(name):
        from zoo.core.model.file_cfg import architecture_in

        weights = Path(name)
        name = architecture_in(weights, key=key)
    cfg = pretrained_cfg(name)
    if weights is None:
        registry.require_weights(cfg)

    from zoo.core.architectures.hub_names import plain_name
    from zoo.core.export.job import Computing
    from zoo.core.export.request import ExportRequest, Inputs, Transform
    from zoo.core.images.rasters.options import MAX_PIXELS, ReadOptions
    from zoo.core.model.named_model import named_classes, names_a_place

    request = ExportRequest(
        model=name if names_a_place(plain_name(name)) else cfg.name,
        inputs=Inputs(source.paths, source.table or None, column=source.column),
        weights=None if weights is None else str(weights),
        source_size=parse_source_size(source_size),
        weights_key=key,
        in_chans=in_chans,
        reading=ReadOptions(
            bands=tuple(filter(None, bands.split(","))),
            axes=axes,
            npz_key=npz_key,
            pages=pages,
            geo=geo,
            allow_vrt=allow_vrt,
            frames=frames,
            max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
        ),
        transform=Transform(
            mean=parse_values("--mean", mean),
            std=parse_values("--std", std, zero=False),
            scale=counts_as_one,
            nodata=nodata,
        ),
        # Every layer as it is: folded norms might decide a tie differently from a plain loop.
        computing=Computing(
            device=device,
            precision=precision,
            fuse=False,
            channels_last=False,
            batch_size=batch_size,
            workers=workers,
        ),
        storage=FeatureStorage("float32", "logits", "npy"),
    )
    table = _table(source, label_column)  # before a model is loaded
    passed_over = Counter[str]()
    job = request.open(passed_over)
    if said := describe_passed_over(passed_over):
        output.note(said)
    inputs = job.plan.inputs
    labels = labels_of_folders(inputs) if table is None else labels_from_table(inputs, table)
    outputs = job.plan.levels[0].channels
    stated = () if names or weights else named_classes(plain_name(name))
    numbers, alphabetical = class_numbers(labels, outputs, names, stated)
    if alphabetical:
        output.note("the labels count as the classes in alphabetical order; --classes FILE states another order")
    with _folder(out) as path:
        folder = FeatureFolder(path, job.plan, force=force)
        shards = range(job.plan.num_shards)
        with output.progress(len(inputs), "Evaluating") as advance:
            pending = pending_shards(folder, shards, retry_failed=retry_failed, on_progress=advance)
            run_shards(job, pending, folder, on_error=on_error, on_progress=advance)
        report = report_of(folder, shards)
        _require_an_image(report)
        if predictions is not None:
            with atomic_output(predictions, force=force) as file:
                for line in prediction_lines(results_of(folder, labels, numbers, shards)):
                    file.write(line)
        evaluation = count(results_of(folder, labels, numbers, shards), outputs)
    _tell(evaluation, report)


def _source(given: list[str], column: str) -> _Source:
    """What the arguments name: one table, or folders and archives."""
    if not given:
        raise UsageError("There is nothing to evaluate on.", hint="Name a folder of classes, or a table.")
    if len(given) > 1:
        raise UsageError(f"One folder or table is evaluated at a time, found {len(given)}.", hint="Run it for each.")
    if given[0] == "-" or given[0].lower().endswith(_TABLES):
        return _Source((), given[0], column)
    return _Source((given[0],), "", "")


def _table(source: _Source, label_column: str) -> dict[str, str] | None:
    """The labels of a table; None for a folder."""
    if not source.table:
        return None
    if source.table == "-":
        raise UsageError("A table is read twice, so it cannot come from a pipe.", hint="Write it to a file first.")
    if not os.path.isfile(source.table):
        raise NotFoundError(f"There is no table {source.table!r}.", path=source.table)
    with open(source.table, "rb") as file:
        return read_labels(file, source.table, column=source.column, label_column=label_column)


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """The folder for the logits; without one, a temporary folder."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="zoo-evaluate-") as folder:
        yield Path(folder)


def _require_an_image(report: ExportReport) -> None:
    for failure in report.failed[:FAILURES_TOLD]:
        output.note(failure.error)
    if report.failed and not report.images:
        raise InvalidInputError(
            f"No image could be read, of {report.num_failed} given; of the first: {report.failed[0].error}",
            hint=report.failed[0].hint,
        )


def _tell(evaluation: Evaluation, report: ExportReport) -> None:
    """Print the shares; raise an error for images that could not be read."""
    if evaluation.nonfinite:
        output.note(f"{evaluation.nonfinite} images have logits that are no numbers; they count as wrong.")
    if output.settings.json:
        output.document(evaluation.to_dict() | {"num_failed": report.num_failed})
    else:
        lines = [f"images: {evaluation.top1.images}", f"top1: {_as_text(evaluation.top1)}"]
        lines += [f"top5: {_as_text(evaluation.top5)}"] if evaluation.top5 else []
        output.lines([*lines, f"failed: {report.num_failed}"])
    if report.num_failed:
        total = report.images + report.num_failed
        raise PartialError(
            f"{report.num_failed} of {total} images could not be read; they count neither as right nor as wrong.",
            hint="The notes above name them.",
        )


def _as_text(share: Share) -> str:
    assert share.percent is not None
    assert share.interval is not None
    low, high = share.interval
    return f"{share.percent:.2f} % ({share.hits} of {share.images}; {low:.2f} to {high:.2f} at {CONFIDENCE:.0%})"
