"""The architecture and the config of a weight file: what the file states, or what its tensors show."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zoo.core.architectures.records import PretrainedCfg
from zoo.core.errors import InvalidInputError
from zoo.core.files.open_weights import open_weights
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.metadata.stated import (
    adapted_cfg,
    configured,
    stated_configuration,
    stated_image_size,
    with_image_size,
)


def architecture_in(path: str | os.PathLike[str], *, key: str = "") -> str:
    """The architecture that a weight file states, or has the tensors of.

    Raises InvalidInputError if there is none, or several that only differ in their mathematics; otherwise as
    `open_weights`.
    """
    from zoo.core.identify.identify import identify

    with open_weights(path, key=key) as opened:
        stated = stated_configuration(opened.metadata, "", os.fspath(path))
        if architecture := stated.get("architecture"):
            return str(architecture)
        found = identify(opened.tensors, guess=False, stated_size=stated_image_size(stated.get("model_args", {})))
    names = found[0].architectures if found and found[0].layout == "timm" else ()
    if len(names) == 1:
        return names[0]
    if names:
        raise InvalidInputError(
            f"{path} has the tensors of {' and of '.join(names[:3])}.",
            hint=f"Name one of them, with --weights {path}.",
            path=os.fspath(path),
        )
    raise InvalidInputError(
        f"{path} does not tell which architecture it holds.",
        hint=f"`zoo identify {path}` shows what is known. Name the model, with --weights {path}.",
        path=os.fspath(path),
    )


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
