"""An export as names and numbers only, so that it can be sent to another process, which opens it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.core.build import create_model
from zoo.core.export.plan import DEFAULT_STORAGE, FeatureStorage
from zoo.core.export.run import ExportJob
from zoo.core.export_features import export_job
from zoo.core.inputs.find import find_inputs
from zoo.core.preprocess import Preprocess
from zoo.core.registry import get_pretrained_cfg
from zoo.weights_cache.checksum import file_sha256
from zoo.weights_cache.download import fetch


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What `zoo export-features` is asked for. For the values see `create_model` and `export_job`.

    Relative paths count from the working directory of the process that opens the request.
    """

    model: str
    images: tuple[str, ...]
    weights: str | None = None
    in_chans: int | None = None
    out_indices: tuple[int, ...] | None = None
    batch_size: int = 32
    images_per_shard: int | None = None
    storage: FeatureStorage = DEFAULT_STORAGE

    def open(self) -> ExportJob:
        """Find the inputs and build the model. Raises as they do."""
        inputs = find_inputs(self.images)
        model = create_model(
            self.model,
            pretrained=self.weights is None,
            checkpoint_path=self.weights,
            in_chans=self.in_chans,
            num_classes=0,
            features_only=True,
            out_indices=self.out_indices,
        )
        return export_job(
            model,
            Preprocess.from_cfg(model.pretrained_cfg, in_chans=model.in_chans),
            inputs,
            model_facts=self._model_facts(model.pretrained_cfg),
            batch_size=self.batch_size,
            images_per_shard=self.images_per_shard,
            storage=self.storage,
        )

    def _model_facts(self, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """What identifies the model in `config.json`."""
        if self.weights is not None:
            path, source = Path(self.weights), f"file:{Path(self.weights).name}"
        else:
            published = get_pretrained_cfg(self.model)
            assert published is not None  # it has just been loaded
            path, source = (file := fetch(published, offline=True)).path, file.origin
        weights = {"source": source, "sha256": file_sha256(path)}
        return {"architecture": cfg["architecture"], "tag": cfg["tag"], "weights": weights}
