"""Tensors in the names of their authors, or of a graph for inference, brought into those of timm's network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.core.architectures.published import find_cfg
from zoo.core.architectures.records import module_paths
from zoo.core.errors import InvalidInputError
from zoo.core.files.stored_tensor import StoredTensor, Unavailable
from zoo.core.model.check import meta_model
from zoo.core.model.match import BATCH_COUNTERS, repair_keys
from zoo.core.model.save import DTYPE_NAMES, stored_tensors, tensors_of
from zoo.core.model.state_dict import TORCH_DTYPES
from zoo.core.model.unfold_batch_norm import told_of_unfolded
from zoo.models.base import ImageModel


class OfAuthors(NamedTuple):
    """The tensors by timm's names, the names of those that have no place in the model, and a note or ""."""

    tensors: tuple[StoredTensor, ...]
    dropped: tuple[str, ...]
    note: str = ""


def in_timms_names(
    tensors: Mapping[str, StoredTensor], architecture: str, *, of_graph: bool = False
) -> OfAuthors | None:
    """The tensors as the loader renames them for this architecture; None unless they then are all of its tensors.

    Batch norms that a graph for inference has folded into the layers before them are given back.

    Names and shapes decide before a value is read. Then the whole checkpoint is read into memory.

    Args:
        tensors: a checkpoint with any number of channels and classes, for images of the usual size.
        architecture: the name of one of zoo's.
        of_graph: whether a graph held them, whose operations tell a parameter's module and not always its name.
    """
    shapes = {}
    for name, tensor in tensors.items():
        dtype = TORCH_DTYPES.get(tensor.dtype)
        if dtype not in DTYPE_NAMES or isinstance(tensor.data, Unavailable):
            return None
        shapes[name] = torch.empty(tensor.shape, dtype=dtype, device="meta")
    try:
        model = _model_of(architecture, shapes)
        names = _names_within_modules(shapes, model.state_dict()) if of_graph else {}
        found, dropped = repair_keys(model, {names.get(name, name): tensor for name, tensor in shapes.items()})
        if not _are_all(found, model.state_dict()):
            return None
        values = tensors_of(tensors.values())
        repaired, _ = repair_keys(model, {names.get(name, name): tensor for name, tensor in values.items()})
    except InvalidInputError:
        return None
    if repaired.keys() != found.keys():  # a family may look at values, too
        return None
    return OfAuthors(tuple(stored_tensors(repaired)), dropped, told_of_unfolded(tensors, repaired))


def _model_of(architecture: str, shapes: dict[str, Tensor]) -> ImageModel:
    """The architecture on the meta device with the channels and classes that the shapes show."""
    cfg = find_cfg(architecture)
    usual = meta_model(cfg)
    found, _ = repair_keys(usual, dict(shapes))
    sizes = {"in_chans": cfg.input_size[0], "num_classes": 0}
    for path in module_paths(cfg.first_conv):
        if (weight := found.get(f"{path}.weight")) is not None and weight.ndim == 4:
            sizes["in_chans"] = weight.shape[1]
    for path in module_paths(cfg.classifier):
        if (weight := found.get(f"{path}.weight")) is not None:
            sizes["num_classes"] = len(weight)
    model = meta_model(cfg, **sizes)
    assert isinstance(model, ImageModel)
    return model


def _names_within_modules(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, str]:
    """New names for tensors whose module lacks exactly one parameter of this shape; only biases become biases."""
    missing = [(name, value.shape) for name, value in wanted.items() if name not in tensors]
    names: dict[str, str] = {}
    for name in tensors.keys() - wanted.keys():
        module, _, own = name.rpartition(".")
        fitting = [
            key
            for key, shape in missing
            if key.startswith(f"{module}.")
            and shape == tensors[name].shape
            and key.endswith("bias") == (own in ("bias", "beta"))
        ]
        if module and len(fitting) == 1:
            names[name] = fitting[0]
    unique = Counter(names.values())
    return {name: key for name, key in names.items() if unique[key] == 1}


def _are_all(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    missing = wanted.keys() - found.keys()
    alike = all(key in wanted and value.shape == wanted[key].shape for key, value in found.items())
    return alike and all(fnmatchcase(key, BATCH_COUNTERS) for key in missing)
