"""Features of many images into a folder: the parts of `zoo.core.export` put together for a model and its transform."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage

from zoo.core.errors import InvalidInputError, UsageError, ZooError
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.plan import DEFAULT_STORAGE, ExportPlan, FeatureStorage, Level
from zoo.core.export.pool import pooled_model
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
from zoo.core.inputs.image_input import ImageInput
from zoo.core.preprocess import Preprocess
from zoo.core.rasters.read import read_image

DECODING_THREADS = 4

Image = NDArray[np.float32]
Features = Sequence[NDArray[np.float32]]
FeatureModel = Callable[[torch.Tensor], Sequence[torch.Tensor]]


def export_features(
    model: FeatureModel,
    preprocess: Preprocess,
    inputs: Sequence[ImageInput],
    out_dir: str | Path,
    *,
    model_facts: Mapping[str, Any] | None = None,
    batch_size: int = 32,
    images_per_shard: int | None = None,
    storage: FeatureStorage = DEFAULT_STORAGE,
    shards: Callable[[int], Iterable[int]] = range,
    on_error: str = "skip",
    retry_failed: bool = False,
    verify: bool = True,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> ExportReport:
    """Write the features of every input to `out_dir`; shards that are there already and whole are passed over.

    Args:
        model, preprocess, inputs, model_facts, batch_size, images_per_shard, storage: see `export_job`.
        out_dir: made if need be.
        shards: which shards to do, given how many there are; all by default.
        on_error: `skip` lists images that cannot be read, `stop` raises the first one's error.
        retry_failed: compute shards anew in which an image could not be read.
        verify: compare the checksums of shards that are there, not only their sizes.
        force: replace another export in `out_dir`, and compute what is there anew.
        on_progress: called with the number of inputs done since the last call.

    Raises:
        UsageError: an option makes no sense, or `out_dir` holds an export with other settings.
        InvalidInputError: photographs do not have the channels that the model reads; or, with `stop`, an image could
            not be read.
        CannotWriteError: `out_dir` cannot be written or holds something else. Complete shards stay, nothing half.
    """
    job = export_job(
        model,
        preprocess,
        inputs,
        model_facts=model_facts,
        batch_size=batch_size,
        images_per_shard=images_per_shard,
        storage=storage,
    )
    folder = FeatureFolder(out_dir, job.plan, force=force)
    own = list(shards(job.plan.num_shards))
    pending = pending_shards(folder, own, retry_failed=retry_failed, verify=verify, on_progress=on_progress)
    run_shards(job, pending, folder, on_error=on_error, on_progress=on_progress)
    return report_of(folder, own)


def export_job(
    model: FeatureModel,
    preprocess: Preprocess,
    inputs: Sequence[ImageInput],
    *,
    model_facts: Mapping[str, Any] | None = None,
    batch_size: int = 32,
    images_per_shard: int | None = None,
    storage: FeatureStorage = DEFAULT_STORAGE,
) -> ExportJob:
    """What to compute, and how; nothing is written yet.

    Args:
        model: image batch (N, C, H, W) -> list of maps (N, channels, h, w), e.g. a `FeatureListNet`.
        preprocess: the model's transform, for 1 or 3 channels.
        inputs: what to read.
        model_facts: architecture, tag, weights..., kept in `config.json`.
        batch_size: images per forward pass.
        images_per_shard: default: as many as make 64 MiB, at most 1024.
        storage: how features are kept.

    Raises:
        UsageError: an option makes no sense, or feature levels do not ascend.
        InvalidInputError: photographs do not have the channels that the model reads.
    """
    if batch_size < 1 or (images_per_shard is not None and images_per_shard < 1):
        raise UsageError("Batch size and images per shard must be 1 or more.")
    if preprocess.in_chans not in (1, 3):
        raise InvalidInputError(
            f"The model reads {preprocess.in_chans} channels, a photograph has 3 (or 1 as grey).",
            hint="Choose weights for 3 channels, or for 1.",
        )
    if isinstance(model, torch.nn.Module):
        model.eval()
    levels = measure_levels(model, preprocess)
    plan = ExportPlan(
        inputs=inputs,
        levels=levels,
        images_per_shard=images_per_shard or storage.fitting_images_per_shard(levels),
        model={**(model_facts or {}), "in_chans": preprocess.in_chans},
        preprocessing=preprocess.to_dict(),
        storage=storage,
    )
    compute, maps = (_batched(model, kind, batch_size) for kind in (storage.pool, "none"))
    return ExportJob(plan, _decoder(preprocess, 2 * batch_size), compute, maps)


def measure_levels(model: FeatureModel, preprocess: Preprocess) -> tuple[Level, ...]:
    """The maps that the model gives for one image, from running it on zeros.

    Module and stride come from the model's `feature_info`; a model without one gets "level0", "level1"...

    Raises:
        UsageError: the levels do not ascend. The maps come finest first, so their names could not be told.
    """
    height, width = preprocess.size
    with torch.inference_mode():
        maps = model(torch.zeros(1, preprocess.in_chans, height, width))
    info = getattr(model, "feature_info", None)
    indices = list(range(len(maps)) if info is None else info.out_indices)
    if indices != sorted(set(indices)):
        raise UsageError(f"Feature levels must be in ascending order, each once, not {indices}.")
    modules = [f"level{i}" for i in indices] if info is None else info.module_name()
    strides = [round(height / m.shape[2]) for m in maps] if info is None else info.reduction()
    return tuple(
        Level(index, module, m.shape[1], m.shape[2], m.shape[3], stride)
        for index, module, stride, m in zip(indices, modules, strides, maps, strict=True)
    )


def _batched(model: FeatureModel, pool: str, batch_size: int) -> Compute:
    pooled = pooled_model(model, pool)

    def compute(images: Iterable[Image | ZooError]) -> Iterator[Features | ZooError]:
        remaining = iter(images)
        while batch := list(islice(remaining, batch_size)):
            ready = [image for image in batch if not isinstance(image, ZooError)]
            rows = iter(run(np.stack(ready)) if ready else ())
            yield from (image if isinstance(image, ZooError) else next(rows) for image in batch)

    def run(batch: Image) -> Iterator[Features]:
        with torch.inference_mode():
            levels = [m.float().cpu().numpy() for m in pooled(torch.from_numpy(batch))]
        return zip(*levels, strict=True)

    return compute


def _decoder(preprocess: Preprocess, ahead: int) -> Decode:
    """Prepares images on threads while the model computes; `ahead` at most are waiting."""

    def prepare(item: ImageInput) -> Prepared | ZooError:
        try:
            raster = read_image(item, preprocess.in_chans)
            facts = {"georeference": raster.georeference} if raster.georeference else {}
            return Prepared(preprocess.array(raster), facts)
        except ZooError as error:
            return error

    def decode(items: Iterable[ImageInput]) -> Generator[Prepared | ZooError, None, None]:
        threads = ThreadPoolExecutor(min(DECODING_THREADS, os.cpu_count() or 1), thread_name_prefix="decode")
        waiting: deque[Future[Prepared | ZooError]] = deque()
        remaining = iter(items)
        with warnings.catch_warnings():
            # read_image has the same limit, as an error.
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            try:
                waiting.extend(threads.submit(prepare, item) for item in islice(remaining, ahead))
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(threads.submit(prepare, item) for item in islice(remaining, 1))
            finally:
                threads.shutdown(cancel_futures=True)

    return decode
