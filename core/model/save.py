"""Convert torch tensors to the stored tensors that zoo writes, and back."""

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
from zoo.core.files.stored_tensor import StoredTensor, Unavailable
from zoo.core.metadata.stated import adapted_cfg, weight_metadata
from zoo.core.model.state_dict import TORCH_DTYPES

DTYPE_NAMES = {
    TORCH_DTYPES[name]: name for name in ("BOOL", "U8", "I8", "I16", "I32", "I64", "F16", "BF16", "F32", "F64")
}
"""The dtypes that zoo writes."""


def stored_tensors(state_dict: Mapping[str, Tensor]) -> list[StoredTensor]:
    """Each tensor's values as dense bytes, shared with the tensor if it is dense already.

    Raises InvalidInputError for a dtype that the format or zoo has no name for.
    """
    if sys.byteorder != "little":
        raise InvalidInputError("Weight files are little-endian; this machine is not, which zoo does not support.")
    return [stored_tensor(name, tensor) for name, tensor in state_dict.items()]


def stored_tensor(name: str, tensor: Tensor) -> StoredTensor:
    """One of `stored_tensors`; a tensor of the meta device has names and shapes alone."""
    if tensor.dtype not in DTYPE_NAMES:
        raise InvalidInputError(f"Tensor {name!r} has the dtype {tensor.dtype}, which zoo does not write.")
    shape = tuple(tensor.shape)
    if tensor.is_meta:
        return StoredTensor(name, DTYPE_NAMES[tensor.dtype], shape, Unavailable("a shape without values"))
    # A lazy conjugate or negation is only a flag on the tensor, which its bytes do not show.
    dense = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    data = dense.reshape(-1).view(torch.uint8).numpy().data if dense.numel() else b""
    return StoredTensor(name, DTYPE_NAMES[tensor.dtype], shape, data)


def tensors_of(stored: Iterable[StoredTensor]) -> dict[str, Tensor]:
    """The inverse of `stored_tensors`: data in memory is shared, data in a file or computed data is read."""
    return {tensor.name: tensor_of(tensor) for tensor in stored}


def tensor_of(stored: StoredTensor) -> Tensor:
    """One of `tensors_of`."""
    dtype = TORCH_DTYPES[stored.dtype]
    if not stored.nbytes:
        return torch.empty(stored.shape, dtype=dtype)
    data = stored.read()
    # torch warns about read-only memory.
    writable = bytearray(data) if memoryview(data).readonly else data
    return torch.frombuffer(writable, dtype=dtype).reshape(stored.shape)


def save_model(
    model: Any, cfg: PretrainedCfg, output: str | os.PathLike[str], *, origin: Mapping[str, Any], force: bool = False
) -> bool:
    """Write a model's state dict with its configuration as safetensors; return False if the file was identical already.

    Args:
        model: has `in_chans` and `num_classes`.
        cfg: the config it was built from.
        output: the file.
        origin: where the weights come from, kept in the metadata.
        force: replace an existing file with different content.

    Raises CannotWriteError and then changes nothing.
    """
    tensors = stored_tensors(model.state_dict())
    paths = (cfg.classifier,) if isinstance(cfg.classifier, str) else cfg.classifier or ()
    # A feature net knows its model's number of classes, but holds no classifier.
    has_classifier = any(tensor.name.startswith(f"{path}.") for tensor in tensors for path in paths)
    num_classes = model.num_classes if has_classifier else 0
    metadata = weight_metadata(
        adapted_cfg(cfg, model.in_chans),
        num_classes=num_classes,
        origin=origin,
        model_args=_sizes(model, cfg),
        reparameterized=getattr(model, "is_reparameterized", False),
    )
    with atomic_output(output, force=force) as file:
        write_safetensors(file, tensors, metadata)
    return not file.unchanged


def _sizes(model: Any, cfg: PretrainedCfg) -> dict[str, Any]:
    """The image size of the weights, if it is not the architecture's usual one."""
    size = getattr(model, "img_size", None)
    usual = registry.get_pretrained_cfg(cfg.architecture) if cfg.architecture else None
    if size is None or usual is None or tuple(size) == usual.input_size[1:]:
        return {}
    return {"img_size": tuple(size)}
