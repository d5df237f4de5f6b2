"""An export as names and numbers only, so that it can be sent to another process and opened there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from zoo.core.errors import UsageError
from zoo.core.export.engine import find_device
from zoo.core.export.job import DEFAULT_COMPUTING, Computing, export_job
from zoo.core.export.plan import DEFAULT_STORAGE, WHOLE_MODEL, FeatureStorage
from zoo.core.export.prepare import raster_size
from zoo.core.export.run import ExportJob
from zoo.core.export.watched_weights import WatchedWeights
from zoo.core.images.inputs.exported_files import ExportedFiles
from zoo.core.images.inputs.find import find_inputs
from zoo.core.images.inputs.input_list import InputList
from zoo.core.images.inputs.tiles import expand_tiles
from zoo.core.images.preprocess import Preprocess
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.metadata.stated import file_configuration
from zoo.core.model.build import create_model
from zoo.core.model.named_model import named_cfg
from zoo.weights_cache.download import fetch


class Inputs(NamedTuple):
    """What to read: paths for `find_inputs`, a file that lists more, and the side and stride of tiles in pixels.

    `outputs` are files that the export writes outside its folder. `min_valid` is the least share of valid pixels in an
    image. With `hashes`, inputs are identified by content.
    """

    paths: tuple[str, ...]
    from_file: str | None = None
    tile: int | None = None
    stride: int | None = None
    column: str = ""
    relative_to: str | None = None
    outputs: tuple[str, ...] = ()
    min_valid: float = 0.0
    hashes: bool = False

    def find(self, passed_over: Counter[str] | None = None) -> InputList:
        """See `find_inputs`."""
        return find_inputs(
            self.paths,
            from_file=self.from_file,
            column=self.column,
            relative_to=self.relative_to,
            exported=ExportedFiles(self.outputs),
            passed_over=passed_over,
        )


class Transform(NamedTuple):
    """Deviations from the preprocessing that the weights' configuration states; see `Preprocess`."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float | str | None = None
    resize: bool = True
    nodata: str = "mean"
    fast_decode: bool = False

    def check_channels(self, in_chans: int) -> None:
        """Raise UsageError if mean or std have a different number of channels."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, in_chans):
                expected = "1 value" if in_chans == 1 else f"1 value, or {in_chans} for the model's channels"
                raise UsageError(f"--{name} takes {expected}, found {len(values)}.")


_AS_CONFIGURED = Transform()
_IN_FULL = ReadOptions()


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """A request of `zoo export-features`. For the values see `create_model` and `export_job`.

    Relative paths refer to the working directory of the process that opens the request. `reading` lacks the values that
    the model and its transform determine. `num_classes` counts for logits alone.
    """

    model: str
    inputs: Inputs
    weights: str | None = None
    source_size: tuple[int, int] | None = None
    weights_key: str = ""
    in_chans: int | None = None
    num_classes: int | None = None
    out_indices: tuple[int, ...] | None = None
    reading: ReadOptions = _IN_FULL
    transform: Transform = _AS_CONFIGURED
    computing: Computing = DEFAULT_COMPUTING
    images_per_shard: int | None = None
    storage: FeatureStorage = DEFAULT_STORAGE

    def for_this_process(self, device: str, threads: int) -> ExportRequest:
        """The same request on this device. The process is set up for it, so that it can do nothing else.

        Args:
            device: see `FeatureEngine`. A GPU becomes the current one, so that nothing is placed on the first.
            threads: the most threads that torch computes in, and the most that decode.

        Raises UsageError: there is no such device.
        """
        torch.set_num_threads(min(threads, torch.get_num_threads()))
        place = find_device(device)
        if place.type == "cuda" and place.index is not None:
            torch.cuda.set_device(place)
        threads = min(threads, self.computing.threads)
        return replace(self, computing=self.computing._replace(device=device, threads=threads))

    def open(self, passed_over: Counter[str] | None = None) -> ExportJob:
        """Find the inputs and build the model. Raises as they do.

        Args:
            passed_over: counts the files in folders and archives that are not images, by their ending.
        """
        whole = self.storage.pool in WHOLE_MODEL
        if whole and self.out_indices is not None:
            kind = "embedding is one vector" if self.storage.pool == "embedding" else "logits are one vector"
            raise UsageError(f"The {kind} for each image, not a feature level.", hint="Leave out --out-indices.")
        inputs = self.inputs.find(passed_over)
        given = None if self.weights is None else WatchedWeights(self.weights, self.weights_key)
        levels: dict[str, Any] = {"features_only": True, "out_indices": self.out_indices}
        model = create_model(
            self.model,
            pretrained=self.weights is None,
            checkpoint_path=self.weights,
            source_size=self.source_size,
            checkpoint_key=self.weights_key,
            in_chans=self.in_chans,
            num_classes=self.num_classes if self.storage.pool == "logits" else 0,
            **({} if whole else levels),
        )
        self.transform.check_channels(model.in_chans)
        preprocess = Preprocess.from_cfg(
            model.pretrained_cfg,
            in_chans=model.in_chans,
            mean=self.transform.mean,
            std=self.transform.std,
            scale=self.transform.scale,
            resize=self.transform.resize,
            nodata=self.transform.nodata,
        )
        min_size = preprocess.min_size if self.transform.fast_decode else 0
        bands = self._stated_bands()
        reading = replace(
            self.reading,
            in_chans=model.in_chans,
            min_size=min_size,
            model_bands=bands if len(bands) == model.in_chans else (),
        )
        if self.inputs.tile is not None:
            stride = self.inputs.stride or self.inputs.tile
            inputs = expand_tiles(inputs, partial(raster_size, options=reading), self.inputs.tile, stride)
        file, source = self._weight_file(given)
        job = export_job(
            model,
            preprocess,
            inputs,
            model_facts=self._model_facts(model.pretrained_cfg, file, source),
            reading=reading,
            computing=self.computing,
            images_per_shard=self.images_per_shard,
            storage=self.storage,
            min_valid=self.inputs.min_valid,
            hashes=self.inputs.hashes,
        )
        return job._replace(check_model=file.check)

    def _weight_file(self, given: WatchedWeights | None) -> tuple[WatchedWeights, str]:
        """The file with the weights, and its name in `config.json`."""
        if given is not None:
            return given, f"file:{Path(given.path).name}"
        found = fetch(named_cfg(self.model), offline=True)
        return WatchedWeights(found.path), found.origin

    def _stated_bands(self) -> tuple[str, ...]:
        """The names of the bands that the given weights read, if they state them."""
        if self.weights is None:
            return ()
        return tuple(file_configuration(self.weights, "", key=self.weights_key).get("bands", ()))

    def _model_facts(self, cfg: Mapping[str, Any], file: WatchedWeights, source: str) -> dict[str, Any]:
        """The facts that identify the model in `config.json`."""
        weights = {"source": source, "sha256": file.sha256()}
        weights |= {"key": self.weights_key} if self.weights_key else {}
        file.check()
        return {"architecture": cfg["architecture"], "tag": cfg["tag"], "weights": weights}
