"""Feature maps of many images into a folder: safetensors shards, a manifest, a config.

    config.json              what was exported: model, weights, levels, preprocessing
    features-00000.safetensors   `index` (rows): position in the manifest, and per level (rows, channels, height, width)
    manifest.jsonl           one line per input, in order: its shard and row, or why it failed

A shard covers a fixed slice of the inputs, so the layout depends neither on the batch size nor on failures.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.feature_folder import FeatureFolder, shard_name
from zoo.core.images import ImageInput
from zoo.core.preprocess import Preprocess
from zoo.core.rasters.read import read_image
from zoo.core.stored_tensor import StoredTensor

SCHEMA_VERSION = 1
SHARD_BYTES = 64 * 2**20
MAX_IMAGES_PER_SHARD = 1024
DECODING_THREADS = 4

FeatureModel = Callable[[torch.Tensor], Sequence[torch.Tensor]]
Decoded = torch.Tensor | InvalidInputError


@dataclass(frozen=True)
class ExportedLevel:
    """One map per image: the module it comes from, its size, and its stride against the input in pixels."""

    index: int
    module: str
    channels: int
    height: int
    width: int
    stride: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    def to_line(self) -> dict[str, Any]:
        """As it stands in the manifest, beside every image."""
        return {"module": self.module, "shape": self.shape, "channels": self.channels, "stride": self.stride}


@dataclass(frozen=True)
class FailedImage:
    id: str
    error: str


@dataclass(frozen=True)
class ExportReport:
    """What an export did. `nonfinite_values` counts NaN and infinities among the features of `nonfinite_images`.

    `changed` is False where the folder held this very export already.
    """

    out_dir: Path
    images: int
    failed: tuple[FailedImage, ...]
    shards: int
    levels: tuple[ExportedLevel, ...]
    nonfinite_values: int
    nonfinite_images: int
    changed: bool

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for `--json`."""
        return {
            "out": str(self.out_dir),
            "images": self.images,
            "shards": self.shards,
            "changed": self.changed,
            "nonfinite_values": self.nonfinite_values,
            "nonfinite_images": self.nonfinite_images,
            "levels": [asdict(level) for level in self.levels],
            "failed": [asdict(failed) for failed in self.failed],
        }


def export_features(
    model: FeatureModel,
    preprocess: Preprocess,
    inputs: Sequence[ImageInput],
    out_dir: str | Path,
    *,
    model_facts: Mapping[str, Any] | None = None,
    batch_size: int = 32,
    images_per_shard: int | None = None,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> ExportReport:
    """Write the feature maps of every input to `out_dir`; images that cannot be read are listed and passed over.

    Args:
        model: image batch (N, C, H, W) -> list of maps (N, channels, h, w), e.g. a `FeatureListNet`.
        preprocess: the model's transform, for 1 or 3 channels.
        inputs: of `find_inputs`.
        out_dir: made if need be.
        model_facts: architecture, tag, weights..., kept in `config.json`.
        batch_size: images per forward pass.
        images_per_shard: default: as many as make 64 MiB, at most 1024.
        force: replace an earlier export in `out_dir`.
        on_progress: called with the number of inputs done since the last call.

    Raises:
        UsageError: a size below 1, or feature levels that do not ascend.
        InvalidInputError: photographs do not have the channels that the model reads.
        CannotWriteError: `out_dir` cannot be written or holds something else. Complete shards stay, nothing half.
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
    with torch.inference_mode(), warnings.catch_warnings():
        # read_image has the same limit, as an error.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        levels = measure_levels(model, preprocess)
        rows = images_per_shard or _images_per_shard(levels)
        config = _config(model_facts or {}, levels, preprocess, inputs, rows)
        folder = FeatureFolder(out_dir, config, force=force)
        export = _Export(model, inputs, levels, folder)
        with closing(_decode_ahead(inputs, preprocess, 2 * batch_size)) as decoded:
            export.run(decoded, rows, batch_size, on_progress)
        return export.report()


def measure_levels(model: FeatureModel, preprocess: Preprocess) -> tuple[ExportedLevel, ...]:
    """The maps that the model gives for one image, from running it on zeros.

    Module and stride come from the model's `feature_info`; a model without one gets "level0", "level1"...

    Raises:
        UsageError: the levels do not ascend. The maps come finest first, so their names could not be told.
    """
    height, width = preprocess.size
    maps = model(torch.zeros(1, preprocess.in_chans, height, width))
    info = getattr(model, "feature_info", None)
    indices = list(range(len(maps)) if info is None else info.out_indices)
    if indices != sorted(set(indices)):
        raise UsageError(f"Feature levels must be in ascending order, each once, not {indices}.")
    modules = [f"level{i}" for i in indices] if info is None else info.module_name()
    strides = [round(height / m.shape[2]) for m in maps] if info is None else info.reduction()
    return tuple(
        ExportedLevel(index, module, m.shape[1], m.shape[2], m.shape[3], stride)
        for index, module, stride, m in zip(indices, modules, strides, maps, strict=True)
    )


def _images_per_shard(levels: Sequence[ExportedLevel]) -> int:
    bytes_per_image = 4 * sum(math.prod(level.shape) for level in levels)
    return max(1, min(SHARD_BYTES // bytes_per_image, MAX_IMAGES_PER_SHARD))


def _config(
    model_facts: Mapping[str, Any],
    levels: Sequence[ExportedLevel],
    preprocess: Preprocess,
    inputs: Sequence[ImageInput],
    images_per_shard: int,
) -> dict[str, Any]:
    """Everything that determines the layout; two runs with one config may share a folder."""
    ids = hashlib.sha256()
    for item in inputs:
        ids.update(item.id.encode(errors="surrogateescape") + b"\0")
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {**model_facts, "in_chans": preprocess.in_chans},
        "out_indices": [level.index for level in levels],
        "levels": [asdict(level) for level in levels],
        "dtype": "float32",
        "preprocessing": preprocess.to_dict(),
        "images_per_shard": images_per_shard,
        "inputs": {"count": len(inputs), "ids_sha256": ids.hexdigest()},
    }


def _decode_ahead(inputs: Sequence[ImageInput], preprocess: Preprocess, ahead: int) -> Generator[Decoded, None, None]:
    """Prepared images in input order, decoded by threads while the model computes; `ahead` at most are waiting."""

    def decode(item: ImageInput) -> Decoded:
        try:
            return preprocess(read_image(item.path, preprocess.in_chans))
        except InvalidInputError as error:
            return error

    threads = ThreadPoolExecutor(min(DECODING_THREADS, os.cpu_count() or 1), thread_name_prefix="decode")
    waiting: deque[Future[Decoded]] = deque()
    remaining = iter(inputs)
    try:
        waiting.extend(threads.submit(decode, item) for item in islice(remaining, ahead))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(threads.submit(decode, item) for item in islice(remaining, 1))
    finally:
        threads.shutdown(cancel_futures=True)


class _Shard:
    """Rows of the images of one slice, up to as many as the slice has."""

    def __init__(self, number: int, capacity: int, levels: Sequence[ExportedLevel]) -> None:
        self.name = shard_name(number)
        self.rows = 0
        self.index = np.empty(capacity, np.int64)
        self.maps = {level.module: np.empty((capacity, *level.shape), np.float32) for level in levels}

    def append(self, positions: Sequence[int], maps: Sequence[torch.Tensor]) -> None:
        rows = slice(self.rows, self.rows + len(positions))
        self.index[rows] = positions
        for stored, computed in zip(self.maps.values(), maps, strict=True):
            stored[rows] = computed.float().cpu().numpy()
        self.rows = rows.stop

    def tensors(self) -> Iterator[StoredTensor]:
        yield _stored("index", "I64", self.index[: self.rows])
        for module, values in self.maps.items():
            yield _stored(module, "F32", values[: self.rows])


def _stored(name: str, dtype: str, values: NDArray[Any]) -> StoredTensor:
    return StoredTensor(name, dtype, values.shape, values.reshape(-1).view(np.uint8).data)


class _Export:
    """A running export: what it reads, where it writes, and what it has counted so far."""

    def __init__(
        self,
        model: FeatureModel,
        inputs: Sequence[ImageInput],
        levels: tuple[ExportedLevel, ...],
        folder: FeatureFolder,
    ) -> None:
        self.model = model
        self.inputs = inputs
        self.levels = levels
        self.folder = folder
        self.shards = 0
        self.failed: list[FailedImage] = []
        self.nonfinite: list[int] = []  # values, per image that has any

    def run(
        self,
        decoded: Iterator[Decoded],
        images_per_shard: int,
        batch_size: int,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        with self.folder.manifest() as manifest:
            for number, positions in enumerate(_slices(range(len(self.inputs)), images_per_shard)):
                shard = _Shard(number, len(positions), self.levels)
                for batch in _slices(positions, batch_size):
                    for line in self._export_batch(shard, batch, list(islice(decoded, len(batch)))):
                        manifest.append(line)
                    if on_progress is not None:
                        on_progress(len(batch))
                if shard.rows:
                    self.folder.write_shard(shard.name, shard.tensors())
                    self.shards += 1

    def _export_batch(self, shard: _Shard, batch: range, images: Sequence[Decoded]) -> list[dict[str, Any]]:
        """Compute and keep the maps of one batch; returns the manifest's lines of its inputs."""
        ready = {i: image for i, image in zip(batch, images, strict=True) if isinstance(image, torch.Tensor)}
        lines = {i: self._exported(i, shard, row) for row, i in enumerate(ready, start=shard.rows)}
        if ready:
            maps = self.model(torch.stack(list(ready.values())))
            shard.append(list(ready), maps)
            for i, count in zip(ready, _count_nonfinite(maps), strict=True):
                if count:
                    lines[i]["nonfinite"] = count
                    self.nonfinite.append(count)
        for i, image in zip(batch, images, strict=True):
            if isinstance(image, InvalidInputError):
                lines[i] = self._failed(i, image)
        return [lines[i] for i in batch]

    def _exported(self, position: int, shard: _Shard, row: int) -> dict[str, Any]:
        item = self.inputs[position]
        place = {"shard": shard.name, "row": row, "levels": [level.to_line() for level in self.levels]}
        return {"id": item.id, "source": item.source, "status": "ok", **place}

    def _failed(self, position: int, error: InvalidInputError) -> dict[str, Any]:
        item = self.inputs[position]
        self.failed.append(FailedImage(item.id, error.message))
        return {"id": item.id, "source": item.source, "status": "error", "error": error.message}

    def report(self) -> ExportReport:
        return ExportReport(
            out_dir=self.folder.path,
            images=len(self.inputs) - len(self.failed),
            failed=tuple(self.failed),
            shards=self.shards,
            levels=self.levels,
            nonfinite_values=sum(self.nonfinite),
            nonfinite_images=len(self.nonfinite),
            changed=self.folder.changed,
        )


def _count_nonfinite(maps: Sequence[torch.Tensor]) -> list[int]:
    """NaN and infinite values per image, over all levels."""
    # A finite sum proves finite summands, in a fraction of the time that counting takes.
    if all(m.sum().isfinite() for m in maps):
        return [0] * len(maps[0])
    counts = torch.stack([(~m.isfinite()).flatten(1).sum(1) for m in maps]).sum(0)
    return [int(count) for count in counts]


def _slices(positions: range, size: int) -> Iterator[range]:
    return (positions[start : start + size] for start in range(0, len(positions), size))
