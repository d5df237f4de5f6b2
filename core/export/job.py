"""Export features of many images to a folder: combines the parts of `zoo.core.export` for a model and its transform."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError, NotFoundError, UsageError, ZooError
from zoo.core.export.batches import compute_in_order
from zoo.core.export.decode_pool import DECODING_THREADS, decode_ahead
from zoo.core.export.engine import FeatureEngine
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.image_engine import ImageEngine
from zoo.core.export.kept_memory import kept_memory
from zoo.core.export.plan import DEFAULT_STORAGE, WHOLE_MODEL, ExportPlan, FeatureStorage, Level
from zoo.core.export.pool import pooled_model
from zoo.core.export.prepare import Prepare, has_place, raster_size
from zoo.core.export.run import (
    Compute,
    Decode,
    ExportJob,
    ExportReport,
    Prepared,
    pending_shards,
    report_of,
    run_shards,
)
from zoo.core.export.writers import keeps_places
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.preprocess import Preprocess
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.model.features import FeatureInfo, FeatureListNet
from zoo.models.base import ImageModel

Image = NDArray[np.float32]
Features = Sequence[NDArray[np.float32]]
FeatureModel = Callable[[torch.Tensor], Sequence[torch.Tensor]]

INPUTS_TRIED = 64
"""The most inputs to try until the size of one can be read."""


class Computing(NamedTuple):
    """How to compute features; see `FeatureEngine`. `workers` are decoding processes, 0 for at most `threads` threads.

    `runtime` is "torch", a program that runs graphs (`zoo.core.graphs.runtimes`), or "auto".
    """

    device: str = "cpu"
    precision: str = "float32"
    fuse: bool = True
    channels_last: bool = True
    compile_model: bool = False
    batch_size: int = 32
    workers: int = 0
    runtime: str = "torch"
    threads: int = DECODING_THREADS


DEFAULT_COMPUTING = Computing()


def export_features(
    model: FeatureModel,
    preprocess: Preprocess,
    inputs: Sequence[ImageInput],
    out_dir: str | Path,
    *,
    model_facts: Mapping[str, Any] | None = None,
    reading: ReadOptions | None = None,
    computing: Computing = DEFAULT_COMPUTING,
    images_per_shard: int | None = None,
    storage: FeatureStorage = DEFAULT_STORAGE,
    min_valid: float = 0.0,
    hashes: bool = False,
    shards: Callable[[int], Iterable[int]] = range,
    on_error: str = "skip",
    retry_failed: bool = False,
    verify: bool = True,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> ExportReport:
    """Write the features of every input to `out_dir`; complete existing shards are skipped.

    Args:
        model, preprocess, inputs, model_facts, reading, computing, images_per_shard, storage, min_valid, hashes: see
            `export_job`.
        out_dir: created if necessary.
        shards: which shards to compute, given their number; all by default.
        on_error: `skip` lists unreadable images, `stop` raises the first one's error.
        retry_failed: recompute shards with unreadable images.
        verify: compare the checksums of existing shards, not only their sizes.
        force: replace a different export in `out_dir`, and recompute existing shards.
        on_progress: called with the number of inputs done since the last call.

    Raises:
        UsageError: an option makes no sense, or `out_dir` holds an export with other settings.
        InvalidInputError: with `stop`, an image could not be read.
        CannotWriteError: `out_dir` cannot be written or holds something else. Complete shards stay; none is left
            incomplete.
    """
    job = export_job(
        model,
        preprocess,
        inputs,
        model_facts=model_facts,
        reading=reading,
        computing=computing,
        images_per_shard=images_per_shard,
        storage=storage,
        min_valid=min_valid,
        hashes=hashes,
    )
    folder = FeatureFolder(out_dir, job.plan, force=force)
    own = list(shards(job.plan.num_shards))
    pending = pending_shards(
        folder, own, retry_failed=retry_failed, verify=verify, hashes=hashes, on_progress=on_progress
    )
    run_shards(job, pending, folder, on_error=on_error, on_progress=on_progress)
    return report_of(folder, own)


def export_job(
    model: FeatureModel,
    preprocess: Preprocess,
    inputs: Sequence[ImageInput],
    *,
    model_facts: Mapping[str, Any] | None = None,
    reading: ReadOptions | None = None,
    computing: Computing = DEFAULT_COMPUTING,
    images_per_shard: int | None = None,
    storage: FeatureStorage = DEFAULT_STORAGE,
    min_valid: float = 0.0,
    hashes: bool = False,
) -> ExportJob:
    """Define what to compute, and how; nothing is written yet.

    Args:
        model: image batch (N, C, H, W) -> list of maps (N, channels, h, w), e.g. a `FeatureListNet`; for the pools
            of WHOLE_MODEL, a whole model.
        preprocess: the model's transform.
        inputs: what to read.
        model_facts: architecture, tag, weights..., kept in `config.json`.
        reading: how to read images; default: as pictures, or as rasters with as many bands as the model reads.
        computing: device, precision, batch size.
        images_per_shard: default: as many as take 64 MiB, at most 1024.
        storage: how to store features.
        min_valid: the least share of valid pixels in an image, 0 to 1; other images are skipped.
        hashes: identify inputs by the sha256 of their bytes, which the manifest records.

    Raises:
        UsageError: an option makes no sense, or feature levels are not ascending.
        InvalidInputError: images keep their size, and no image's size can be read.
    """
    if computing.batch_size < 1 or (images_per_shard is not None and images_per_shard < 1):
        raise UsageError("Batch size and images per shard must be 1 or more.")
    if not 0 <= min_valid <= 1:
        raise UsageError(f"The share of valid pixels must be a number from 0 to 1, not {min_valid:g}.")
    if isinstance(model, torch.nn.Module):
        model.eval()
    reading = reading or ReadOptions(in_chans=preprocess.in_chans)
    # An image that keeps its size has maps of its own size.
    size = preprocess.size if preprocess.resize else _size_of_first(inputs, reading)
    pooled = pooled_model(model, storage.pool)
    whole = storage.pool in WHOLE_MODEL
    shape = (preprocess.in_chans, *size)
    levels = measure_vector(pooled, shape, storage.pool) if whole else measure_levels(model, shape)
    # A network that is made for one size refuses others itself.
    any_size = not preprocess.resize and storage.pool != "none" and getattr(model, "img_size", None) is None
    facts = {**model_facts, "pool": storage.pool} if model_facts and "weights" in model_facts else {}
    engine = _engine_for(pooled, preprocess, size, levels, computing, len(inputs), facts, any_size=any_size)
    plan = ExportPlan(
        inputs=inputs,
        levels=levels,
        images_per_shard=images_per_shard or storage.fitting_images_per_shard(levels),
        model={**(model_facts or {}), "in_chans": preprocess.in_chans, "computing": engine.to_dict()},
        preprocessing={
            **preprocess.to_dict(),
            "reading": _as_recorded(reading),
            **({"min_valid": min_valid} if min_valid else {}),
        },
        storage=storage,
        placed=keeps_places(storage.format) and _first_has_place(inputs, reading),
    )
    fixed = None if preprocess.resize or storage.pool != "none" else size

    @cache
    def unpooled() -> ImageEngine:
        if storage.pool == "none":
            return engine
        maps = FeatureListNet(model) if isinstance(model, ImageModel) and whole else model
        return _engine(maps, (preprocess.in_chans, *size), computing)

    return ExportJob(
        plan,
        _decoder(Prepare(preprocess, reading, fixed, min_valid, hashes), computing),
        _computer(lambda: engine, computing.batch_size),
        _computer(unpooled, computing.batch_size),
        hashes,
    )


def _as_recorded(reading: ReadOptions) -> dict[str, Any]:
    """The reading options that affect values; a limit only decides whether there are any."""
    unset = [name for name, value in (("pages", "auto"), ("frames", "")) if getattr(reading, name) == value]
    left_out = ("max_pixels", "allow_vrt", "model_bands", *unset)
    return {name: value for name, value in asdict(reading).items() if name not in left_out}


def _size_of_first(inputs: Sequence[ImageInput], reading: ReadOptions) -> tuple[int, int]:
    """Height and width of the first input that can be opened."""
    reason = "there is none"
    for item in islice(inputs, INPUTS_TRIED):
        try:
            return raster_size(item, reading)
        except (InvalidInputError, NotFoundError) as error:
            reason = error.message
    raise InvalidInputError(f"No input can be opened to see how large its features are: {reason}")


def _first_has_place(inputs: Sequence[ImageInput], reading: ReadOptions) -> bool:
    """Whether the first input that can be opened is georeferenced."""
    for item in islice(inputs, INPUTS_TRIED):
        with suppress(InvalidInputError, NotFoundError):
            return has_place(item, reading)
    return False


def measure_levels(model: FeatureModel, input_size: tuple[int, int, int]) -> tuple[Level, ...]:
    """The maps of the model for one image (channels, height, width), measured by running it on zeros.

    Module and stride come from the model's `feature_info`; a model without one gets "level0", "level1"...

    Raises:
        UsageError: the levels are not ascending. Maps come finest first, so their names would be wrong.
    """
    with torch.inference_mode():
        maps = model(torch.zeros(1, *input_size))
    info = getattr(model, "feature_info", None)
    indices = list(range(len(maps)) if info is None else info.out_indices)
    if indices != sorted(set(indices)):
        raise UsageError(f"Feature levels must be in ascending order, each once, not {indices}.")
    modules = [f"level{i}" for i in indices] if info is None else info.module_name()
    names = info.level_name() if isinstance(info, FeatureInfo) else [""] * len(indices)
    strides = [round(input_size[1] / m.shape[2]) for m in maps] if info is None else info.reduction()
    return tuple(
        Level(index, module, m.shape[1], m.shape[2], m.shape[3], stride, name)
        for index, module, stride, name, m in zip(indices, modules, strides, names, maps, strict=True)
    )


def measure_vector(model: FeatureModel, input_size: tuple[int, int, int], pool: str) -> tuple[Level, ...]:
    """The vector of a pool of WHOLE_MODEL for one image (channels, height, width), measured by running it on zeros."""
    with torch.inference_mode():
        (vector,) = model(torch.zeros(1, *input_size))
    return (Level(None, pool, vector.shape[1], 1, 1, None),)


def _engine_for(
    model: FeatureModel,
    preprocess: Preprocess,
    size: tuple[int, int],
    levels: Sequence[Level],
    computing: Computing,
    num_images: int,
    facts: Mapping[str, Any],
    *,
    any_size: bool,
) -> ImageEngine:
    """The engine of the runtime that was asked for, or that pays off.

    `facts` are those that the numbers follow from, empty if the weights have no digest to tell one graph from another.
    """
    if computing.runtime == "torch":
        return _engine(model, (preprocess.in_chans, *size), computing)
    from zoo.core.export.graph_engine import GraphEngine, choose_runtime

    runtime = choose_runtime(computing.runtime, computing.precision, computing.device, num_images)
    if runtime != "torch" and not isinstance(model, torch.nn.Module):
        raise UsageError("Only a model of torch can be run as a graph.", hint="Choose the runtime torch.")
    if runtime == "torch":
        return _engine(model, (preprocess.in_chans, *size), computing)
    if computing.compile_model or not computing.fuse:
        raise UsageError(
            f"--compile and --exact are about torch, and the runtime is {runtime}.", hint="Choose --runtime torch."
        )
    try:
        return GraphEngine(
            model,
            preprocess,
            size,
            [level.key for level in levels],
            runtime=runtime,
            precision=computing.precision,
            facts=facts,
            any_size=any_size,
        )
    except InvalidInputError as error:
        if computing.runtime != "auto":
            raise
        warnings.warn(f"Features are computed with torch, not with {runtime}: {error.message}", stacklevel=2)
        return _engine(model, (preprocess.in_chans, *size), computing)


def _engine(model: FeatureModel, input_size: tuple[int, int, int], computing: Computing) -> FeatureEngine:
    return FeatureEngine(
        model,
        input_size,
        device=computing.device,
        precision=computing.precision,
        fuse=computing.fuse,
        channels_last=computing.channels_last,
        compile_model=computing.compile_model,
    )


def _computer(engine: Callable[[], ImageEngine], batch_size: int) -> Compute:
    def compute(images: Iterable[Image | ZooError]) -> Iterator[Features | ZooError]:
        with kept_memory():
            one = engine()
            for result in compute_in_order(images, one.start, batch_size, one.batch_memory):
                yield result if isinstance(result, ZooError) else result.maps

    return compute


def _decoder(prepare: Prepare, computing: Computing) -> Decode:
    def decode(items: Iterable[ImageInput]) -> Generator[Prepared | ZooError, None, None]:
        return decode_ahead(
            items,
            prepare,
            workers=computing.workers,
            threads=computing.threads,
            ahead=2 * computing.batch_size,
            size_of=lambda prepared: prepared.image.nbytes,
        )

    return decode
