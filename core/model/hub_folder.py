"""A model as a folder that `local-dir:` and the Hub's timm format read: weights, config.json and a model card.

https://huggingface.co/docs/timm/hf_hub and https://huggingface.co/docs/hub/model-cards describe the two documents.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from zoo.core.architectures import registry
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.errors import UsageError
from zoo.core.files.atomic_folder import atomic_folder
from zoo.core.files.safetensors_writer import write_safetensors
from zoo.core.metadata.model_card import model_card
from zoo.core.metadata.stated import adapted_cfg, weight_metadata
from zoo.core.metadata.timm_config import write_timm_config
from zoo.core.model.named_model import CONFIG_NAME
from zoo.core.model.save import stored_tensors
from zoo.models.base import ImageModel

WEIGHTS_NAME = "model.safetensors"
PICKLE_NAME = "pytorch_model.bin"


def save_for_hf(
    model: ImageModel,
    save_directory: str | os.PathLike[str],
    model_config: Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
    safe_serialization: bool | str = True,
    *,
    force: bool = False,
) -> None:
    """Write a model's weights, its config.json and a model card (README.md), ready for `hf upload`.

    Args:
        model: one of zoo's models, with its classifier.
        save_directory: the folder. It is written whole or not at all.
        model_config: entries that replace those of config.json, e.g. `label_names`; those of its `pretrained_cfg`
            replace that part's.
        model_args: what the model is built with besides channels and classes. By default what it was built with that
            differs from its architecture.
        safe_serialization: True writes model.safetensors; False a pickle, pytorch_model.bin; "both" both.
        force: replace an existing folder with other contents.

    Raises:
        UsageError: the model has no architecture by which it could be built again, is reparameterized, or an argument
            is no JSON.
        CannotWriteError: the folder could not be written; an existing one is then intact.
    """
    cfg = PretrainedCfg.from_mapping(model.pretrained_cfg)
    if not cfg.architecture:
        raise UsageError("The model does not say which architecture it is.", hint="Build it with create_model.")
    if safe_serialization not in (True, False, "both"):
        raise UsageError(f"safe_serialization must be True, False or 'both', found {safe_serialization!r}.")
    if model.is_reparameterized:
        raise UsageError(
            "A folder for the Hub cannot say that branches and norms of its model are joined.",
            hint="Save the model before it is reparameterized; who loads it can reparameterize it then.",
        )
    arguments = {**built_with(model), **(model_args or {})}
    cfg = adapted_cfg(cfg, model.in_chans)
    options = {"in_chans": model.in_chans, "num_classes": model.num_classes, "features": model.num_features}
    config = _with_entries(write_timm_config(cfg, model_args=_plain(arguments), **options), model_config or {})
    tensors = stored_tensors(model.state_dict())
    metadata = weight_metadata(cfg, num_classes=model.num_classes, origin={}, model_args=_plain(arguments))
    os.makedirs(os.path.dirname(os.path.abspath(save_directory)), exist_ok=True)
    with atomic_folder(save_directory, force=force) as folder:
        digests = {}
        if safe_serialization:
            with folder.file(WEIGHTS_NAME) as file:
                write_safetensors(file, tensors, metadata)
            digests[WEIGHTS_NAME] = _sha256(os.path.join(folder.path, WEIGHTS_NAME))
        if safe_serialization != True:  # noqa: E712 - "both" is another value
            torch.save(model.state_dict(), os.path.join(folder.path, PICKLE_NAME))
            digests[PICKLE_NAME] = _sha256(os.path.join(folder.path, PICKLE_NAME))
        with folder.file(CONFIG_NAME) as file:
            file.write(config)
        with folder.file("README.md") as file:
            file.write(model_card(cfg, in_chans=model.in_chans, num_classes=model.num_classes, digests=digests))


def built_with(model: ImageModel) -> dict[str, Any]:
    """The keywords with which `create_model` builds this model from its architecture's name."""
    _, usual = registry.find_spec(model.pretrained_cfg["architecture"])
    changed = {field.name: getattr(model.spec, field.name) for field in fields(usual)}
    changed = {name: value for name, value in changed.items() if value != getattr(usual, name)}
    given = {name: value for name, value in model._keywords.items() if name not in ("in_chans", "num_classes")}
    pool = model.global_pool.pool_type
    if "global_pool" in {*given, *changed} or pool != _usual_pool(model):
        given["global_pool"] = pool
        changed.pop("global_pool", None)
    return {**changed, **given}


def _usual_pool(model: ImageModel) -> str:
    """The pooling of the architecture as it is published; that of the model if it takes no other."""
    from inspect import signature

    usual = getattr(registry.find_spec(model.pretrained_cfg["architecture"])[1], "global_pool", None)
    parameter = signature(type(model)).parameters.get("global_pool")
    default = usual if usual is not None else parameter.default if parameter else None
    return str(default if default is not None else getattr(model, "default_pool", model.global_pool.pool_type))


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as JSON can say them. Raises UsageError for one that it cannot."""
    for name, value in arguments.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"The argument {name!r} of the model cannot be written as JSON: {error}.") from None
    return dict(arguments)


def _with_entries(config: bytes, entries: Mapping[str, Any]) -> bytes:
    """The text of config.json with entries of the caller's own."""
    if not entries:
        return config
    document = json.loads(config)
    own = {name: value for name, value in entries.items() if name not in ("pretrained_cfg", "model_args")}
    document |= own
    for part in ("pretrained_cfg", "model_args"):
        document[part] |= entries.get(part, {})
    return (json.dumps(document, indent=2) + "\n").encode()


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
