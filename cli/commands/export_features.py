"""`zoo export-features`: multi-scale features of images, in shards with a manifest."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import output
from zoo.cli.errors import end_soon_after_signals
from zoo.cli.export_options import (
    Actors,
    AllowVrt,
    Axes,
    BandChoice,
    BatchSize,
    Column,
    Compile,
    Devices,
    Dtype,
    Engine,
    Exact,
    FailOnNonfinite,
    FastDecode,
    Format,
    Frames,
    FromFile,
    Geo,
    Hash,
    Images,
    ImagesPerShard,
    MaxPixels,
    Mean,
    MinValid,
    ModelKey,
    ModelSourceSize,
    ModelWeights,
    NoData,
    NoResize,
    NoVerify,
    NpzKey,
    OnError,
    Pages,
    Pool,
    Precision,
    Preview,
    RelativeTo,
    Replace,
    RetryFailed,
    Runtime,
    Scale,
    Shard,
    Std,
    Stride,
    Tile,
    Workers,
    parse_scale,
    parse_values,
)
from zoo.cli.help_sections import OUTPUT
from zoo.cli.options import (
    InChans,
    Json,
    ModelName,
    Offline,
    OutIndices,
    Quiet,
    Timeout,
    Verbose,
    limit_network,
    local_file,
    parse_indices,
    parse_source_size,
    pretrained_cfg,
)
from zoo.core.architectures import registry
from zoo.core.errors import InvalidInputError, PartialError, UsageError
from zoo.core.export.devices import find_devices, names_several
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.plan import DTYPES, POOLS, RUNTIMES, FeatureStorage
from zoo.core.export.run import ON_ERROR, ExportReport, pending_shards, report_of, run_shards
from zoo.core.export.writers import WRITERS
from zoo.core.files.atomic_output import refuse_pipe
from zoo.core.images.inputs.selection import describe_passed_over
from zoo.core.images.inputs.shard_choice import parse_part, part_from_environment, shards_of
from zoo.core.images.rasters.options import NODATA

FAILURES_TOLD = 10
CHANGED_TOLD = 3


@end_soon_after_signals()
def export_features(
    name: ModelName,
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", rich_help_panel=OUTPUT, help="Write the features to this folder."
        ),
    ],
    images: Images = None,
    from_file: FromFile = None,
    column: Column = "",
    relative_to: RelativeTo = None,
    on_error: OnError = "skip",
    retry_failed: RetryFailed = False,
    hashes: Hash = False,
    bands: BandChoice = "",
    scale: Scale = "",
    tile: Tile = None,
    stride: Stride = None,
    no_resize: NoResize = False,
    mean: Mean = "",
    std: Std = "",
    nodata: NoData = "mean",
    min_valid: MinValid = 0.0,
    pages: Pages = "auto",
    axes: Axes = "auto",
    npz_key: NpzKey = "",
    frames: Frames = "",
    geo: Geo = False,
    allow_vrt: AllowVrt = False,
    fast_decode: FastDecode = False,
    max_pixels: MaxPixels = None,
    out_indices: OutIndices = "",
    weights: ModelWeights = None,
    key: ModelKey = "",
    source_size: ModelSourceSize = "",
    in_chans: InChans = None,
    device: Devices = "cpu",
    batch_size: BatchSize = 32,
    precision: Precision = "float32",
    runtime: Runtime = "torch",
    workers: Workers = 0,
    shard: Shard = "1/1",
    engine: Engine = "local",
    actors: Actors = 1,
    compile_model: Compile = False,
    exact: Exact = False,
    pool: Pool = "none",
    dtype: Dtype = "float32",
    file_format: Format = "safetensors",
    images_per_shard: ImagesPerShard = None,
    preview: Preview = None,
    force: Replace = False,
    fail_on_nonfinite: FailOnNonfinite = False,
    no_verify: NoVerify = False,
    offline: Offline = False,
    timeout: Timeout = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write the features that a model computes from images to a folder.

    The command reads photographs (JPEG, PNG, WebP, AVIF, HEIC, JPEG 2000, JPEG XL and more), TIFF and GeoTIFF of any
    number of bands, .npy, .npz, DICOM, and archives of these. It prepares images as the weights expect. Without
    --out-indices it writes every level.

    FOLDER gets shards of features, config.json, and manifest.jsonl with one line per image: its shard and row, or the
    reason why it failed. An image that cannot be read is listed and left out. The exit code is then 3, or 4 if no image
    can be read. The same command again completes a run that was cut off, and computes again what has changed.

    \b
    Examples:
      zoo export-features resnet34 photos/ --out-indices 2,3,4 -o features/
      zoo export-features resnet34 a.jpg --weights grey.safetensors -o features/
      zoo export-features resnet34 scene.tif --bands 4,3,2 --scale 10000 -o f/
      ls photos/*.jpg | zoo export-features resnet34 - --pool avg -o features/
      zoo export-features resnet34 photos/ --shard 3/8 -o features/
      zoo export-features resnet18 photos/ --runtime onnxruntime -o features/
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    output.catch_native_stderr()
    limit_network(offline=offline, timeout=timeout)
    refuse_pipe(out)
    weights = weights and local_file(weights)
    levels = parse_indices(out_indices)
    part = part_from_environment(os.environ) if shard == "auto" else parse_part(shard)
    for option, value, choices in (
        ("--pool", pool, POOLS),
        ("--dtype", dtype, tuple(DTYPES)),
        ("--format", file_format, tuple(WRITERS)),
        ("--on-error", on_error, ON_ERROR),
        ("--engine", engine, ("local", "ray")),
        ("--runtime", runtime, RUNTIMES),
        ("--nodata", nodata, NODATA),
    ):
        if value not in choices:
            raise UsageError(f"{option} takes one of {', '.join(choices)}, found {value!r}.")
    counts_as_one = parse_scale(scale)
    if stride is not None and tile is None:
        raise UsageError("--stride is the distance of tiles.", hint="Pass --tile too.")
    if actors != 1 and engine != "ray":
        raise UsageError("--actors are those of a cluster.", hint="Pass --engine ray too.")
    if not 0 <= min_valid <= 1:
        raise UsageError(f"--min-valid takes a share from 0 to 1, found {min_valid:g}.", hint="For example: 0.5")
    several = names_several(device)
    if several and engine == "ray":
        raise UsageError(
            f"The nodes of a cluster compute on one device each, and --device names several: {device!r}.",
            hint="Leave out --engine, or name one device.",
        )
    if (several or engine == "ray") and ("-" in (*(images or ()), from_file) or _is_pipe(from_file)):
        readers = "process of an export on several devices" if several else "node of a cluster"
        raise UsageError(f"Every {readers} reads the list of inputs.", hint="Pass it as a file: --from-file LIST.")
    if source_size and weights is None:
        raise UsageError(
            "--source-size describes a weight file, and none was given.", hint="Name the file with --weights."
        )
    cfg = pretrained_cfg(name)  # before importing torch, which takes seconds
    if key and weights is None:
        raise UsageError("--key is about a weight file.", hint="Name it: --weights FILE.")
    if weights is None:
        registry.require_weights(cfg)
    devices = find_devices(device) if several else (device,)

    from zoo.core.architectures.hub_names import plain_name
    from zoo.core.export.job import Computing
    from zoo.core.export.request import ExportRequest, Inputs, Transform
    from zoo.core.images.rasters.options import MAX_PIXELS, ReadOptions
    from zoo.core.model.named_model import names_a_place

    request = ExportRequest(
        model=name if names_a_place(plain_name(name)) else cfg.name,
        inputs=Inputs(
            tuple(images or ()),
            from_file,
            tile,
            stride,
            column=column,
            relative_to=None if relative_to is None else str(relative_to),
            outputs=() if preview is None else (str(preview),),
            min_valid=min_valid,
            hashes=hashes,
        ),
        weights=None if weights is None else str(weights),
        source_size=parse_source_size(source_size),
        weights_key=key,
        in_chans=in_chans,
        out_indices=None if levels is None else tuple(levels),
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
            resize=not no_resize,
            nodata=nodata,
            fast_decode=fast_decode,
        ),
        computing=Computing(
            device=devices[0],
            precision=precision,
            fuse=not exact,
            channels_last=not exact,
            compile_model=compile_model,
            batch_size=batch_size,
            workers=workers,
            runtime=runtime,
        ),
        images_per_shard=images_per_shard,
        storage=FeatureStorage(dtype, pool, file_format),
    )
    passed_over = Counter[str]()
    job = request.open(passed_over)
    if said := describe_passed_over(passed_over):
        output.note(said)
    folder = FeatureFolder(out, job.plan, force=force)
    own = shards_of(part, job.plan.num_shards)
    if preview is not None:
        from zoo.core.export.preview import write_preview

        write_preview(preview, job)
    num_inputs = sum(len(job.plan.positions(number)) for number in own)
    changed: list[str] = []
    num_changed = 0

    def tell_changed(ids: Sequence[str]) -> None:
        nonlocal num_changed
        num_changed += len(ids)
        changed.extend(ids[: CHANGED_TOLD - len(changed)])

    with output.progress(num_inputs, "Exporting features") as advance:
        pending = pending_shards(
            folder,
            own,
            retry_failed=retry_failed,
            verify=not no_verify,
            hashes=hashes,
            on_progress=advance,
            on_changed=tell_changed,
        )
        if num_changed:
            output.note(_changed(num_changed, changed))
        if engine == "ray":
            from zoo.core.export.ray_engine import run_on_ray

            run_on_ray(request, folder, pending, num_actors=actors, on_error=on_error, on_progress=advance)
        elif len(devices) > 1:
            from zoo.core.export.device_processes import run_on_devices

            del job  # each process builds a model of its own
            run_on_devices(request, folder, pending, devices=devices, on_error=on_error, on_progress=advance)
        else:
            run_shards(job, pending, folder, on_error=on_error, on_progress=advance)
    _tell(report_of(folder, own), fail_on_nonfinite)


def _is_pipe(path: str | None) -> bool:
    """Whether a list comes from another program, as with `<(find ...)`, so that only one process can read it."""
    return path is not None and os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _changed(number: int, ids: Sequence[str]) -> str:
    told = ", ".join(ids) + (", ..." if number > len(ids) else "")
    inputs = "1 input has" if number == 1 else f"{number} inputs have"
    return f"{inputs} changed since the last run, and the features are computed anew: {told}"


def _tell(report: ExportReport, fail_on_nonfinite: bool) -> None:
    """Print what was done; raise an error for images that failed."""
    total = report.images + report.num_failed + report.num_skipped
    for failure in report.failed[:FAILURES_TOLD]:
        output.note(failure.error)
    if report.num_failed > FAILURES_TOLD:
        output.note(f"{report.num_failed - FAILURES_TOLD} more failed.")
    if report.nonfinite_values:
        output.note(f"{report.nonfinite_images} images have {report.nonfinite_values} NaN or infinite features.")
    if report.unscaled_images:
        output.note(
            f"{report.unscaled_images} images declare a scale and offset of their numbers, which were not applied: "
            "--scale file applies them."
        )
    if report.bright_images:
        output.note(
            f"{'1 image holds' if report.bright_images == 1 else f'{report.bright_images} images hold'} floating point "
            f"numbers above 1, up to {report.largest:g}, "
            "taken as they are: if 1 is not white, pass the number that is, for example --scale 255."
        )
    if report.num_skipped:
        output.note(f"Skipped, with less data than --min-valid asks: {report.num_skipped} of {total}.")
    if not report.complete:
        output.note("Other parts are not done yet; the last one writes manifest.jsonl.")
    manifest = report.out_dir / ("manifest.jsonl" if report.complete else "manifest-*.jsonl")
    if report.failed and not report.images:
        first = report.failed[0]
        raise InvalidInputError(
            f"No image could be read, of {total} given; of the first: {first.error}",
            hint=first.hint or f"{manifest} lists the reasons.",
            path=str(manifest),
        )
    values = report.to_dict()
    if output.settings.json:
        output.document(values)
    else:
        output.lines(_as_lines(values))
    if report.num_failed:
        raise PartialError(
            f"{report.num_failed} of {total} images could not be read; the features of the others are written.",
            hint=f"{manifest} lists the reasons.",
            path=str(manifest),
        )
    if report.nonfinite_values and fail_on_nonfinite:
        raise PartialError(
            f"{report.nonfinite_images} of {total} images have features that are NaN or infinite.",
            hint=f"{manifest} says which.",
            path=str(manifest),
        )


def _as_lines(values: dict[str, Any]) -> list[str]:
    lines = [f"{key}: {values[key]}" for key in ("out", "images", "shards")]
    lines.append(f"failed: {values['num_failed']}")
    if values["num_skipped"]:
        lines.append(f"skipped: {values['num_skipped']}")
    lines += [f"level: {' '.join(f'{k}={v}' for k, v in level.items() if v is not None)}" for level in values["levels"]]
    return lines if values["changed"] else [*lines, "unchanged"]
