"""Torch tensors as the stored tensors that zoo writes, and back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.core.architectures import registry
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.errors import InvalidInputError
from zoo.core.files.atomic_output import atomic_output
from zoo.core.files.safetensors_writer import write_safetensors
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.metadata.stated import adapted_cfg, weight_metadata
from zoo.core.model.state_dict import TORCH_DTYPES

DTYPE_NAMES = {
    TORCH_DTYPES[name]: name for name in ("BOOL", "U8", "I8", "I16", "I32", "I64", "F16", "BF16", "F32", "F64")
}
"""What zoo writes."""


def stored_tensors(state_dict: Mapping[str, Tensor]) -> list[StoredTensor]:
    """Each tensor's values, densely laid out, as bytes (shared with the tensor where it is dense already).

    Raises InvalidInputError for a dtype that the format or zoo has no name for.
    """
    if sys.byteorder != "little":
        raise InvalidInputError("Weight files are little-endian; this machine is not, which zoo does not support.")
    return [_stored(name, tensor) for name, tensor in state_dict.items()]


def _stored(name: str, tensor: Tensor) -> StoredTensor:
    if tensor.dtype not in DTYPE_NAMES:
        raise InvalidInputError(f"Tensor {name!r} has the dtype {tensor.dtype}, which zoo does not write.")
    # A lazy conjugate or negative is a flag on the tensor that its bytes do not show.
    dense = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    data = dense.reshape(-1).view(torch.uint8).numpy().data if dense.numel() else b""
    return StoredTensor(name, DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), data)


def tensors_of(stored: Iterable[StoredTensor]) -> dict[str, Tensor]:
    """The inverse of `stored_tensors`: what lies in memory is shared, what lies in a file or is computed is read."""
    return {tensor.name: _tensor(tensor) for tensor in stored}


def _tensor(stored: StoredTensor) -> Tensor:
    dtype = TORCH_DTYPES[stored.dtype]
    if not stored.nbytes:
        return torch.empty(stored.shape, dtype=dtype)
    data = stored.read()
    # torch warns of memory that it must not write to.
    writable = bytearray(data) if memoryview(data).readonly else data
    return torch.frombuffer(writable, dtype=dtype).reshape(stored.shape)


def save_model(
    model: Any, cfg: PretrainedCfg, output: str | os.PathLike[str], *, origin: Mapping[str, Any], force: bool = False
) -> bool:
    """Write a model's state dict as safetensors with its configuration; False where the file was equal already.

    Args:
        model: has `in_chans` and `num_classes`.
        cfg: the config it was built from.
        output: the file.
        origin: how the weights came to be, kept in the metadata.
        force: replace an existing file with other content.

    Raises CannotWriteError; nothing is then changed.
    """
    tensors = stored_tensors(model.state_dict())
    paths = (cfg.classifier,) if isinstance(cfg.classifier, str) else cfg.classifier or ()
    # A net of feature maps knows how many classes its model has, and holds no classifier.
    has_classifier = any(tensor.name.startswith(f"{path}.") for tensor in tensors for path in paths)
    num_classes = model.num_classes if has_classifier else 0
    metadata = weight_metadata(
        adapted_cfg(cfg, model.in_chans), num_classes=num_classes, origin=origin, model_args=_sizes(model, cfg)
    )
    with atomic_output(output, force=force) as file:
        write_safetensors(file, tensors, metadata)
    return not file.unchanged


def _sizes(model: Any, cfg: PretrainedCfg) -> dict[str, Any]:
    """What says for which image size the weights are, where it is not the usual one of the architecture."""
    size = getattr(model, "img_size", None)
    usual = registry.get_pretrained_cfg(cfg.architecture) if cfg.architecture else None
    if size is None or usual is None or tuple(size) == usual.input_size[1:]:
        return {}
    return {"img_size": tuple(size)}
