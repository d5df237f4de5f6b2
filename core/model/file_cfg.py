"""The config of a model that is built for a weight file which states nothing, as other programs write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from zoo.core.architectures.records import PretrainedCfg
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.identify.task_sizes import task_sizes
from zoo.core.metadata.stated import adapted_cfg


def cfg_of_tensors(cfg: PretrainedCfg, tensors: Mapping[str, StoredTensor]) -> PretrainedCfg:
    """A config with the channels and classes that a file's tensors show; where they show none, its own."""
    shown = task_sizes(tensors, cfg.architecture)
    sized = cfg if shown.in_chans is None else adapted_cfg(cfg, shown.in_chans)
    return sized if shown.num_classes is None else replace(sized, num_classes=shown.num_classes)
