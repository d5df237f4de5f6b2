"""The config of a model that is built for a weight file: what the file states, or what its tensors show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zoo.core.architectures.records import PretrainedCfg
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.metadata.stated import adapted_cfg, configured, stated_configuration, with_image_size


def cfg_of_file(
    cfg: PretrainedCfg,
    architecture: str,
    tensors: Mapping[str, StoredTensor],
    metadata: Mapping[str, str],
    path: str,
    source_size: tuple[int, int] | None = None,
) -> tuple[PretrainedCfg, dict[str, Any]]:
    """A config for a file, and what the file states.

    Channels and classes are those that it states; if it states nothing, as files of other programs, those that its
    tensors show, and where they show none, the config's.

    Args:
        cfg: of the model, which its caller may have written.
        architecture: which the file is for.
        tensors, metadata: the file's.
        path: for messages.
        source_size: height and width of the images that it is for, as the user gives them.

    Raises:
        InvalidInputError: the statement is damaged, or names another architecture.
        UsageError: the file states another image size.
    """
    stated = with_image_size(stated_configuration(metadata, architecture, path), source_size, path)
    found = configured(cfg, stated)
    if "in_chans" in stated or not tensors:
        return found, stated
    from zoo.core.identify.task_sizes import task_sizes

    shown = task_sizes(tensors, architecture)
    sized = found if shown.in_chans is None else adapted_cfg(found, shown.in_chans)
    return sized if shown.num_classes is None else replace(sized, num_classes=shown.num_classes), stated
