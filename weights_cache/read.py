"""A weight file as a state dict of torch tensors. What strangers wrote is never executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from zoo.core.errors import InvalidInputError
from zoo.core.safetensors_file import open_safetensors
from zoo.core.stored_tensor import Region, StoredTensor
from zoo.weights_cache.checkpoint import Checkpoint, open_checkpoint
from zoo.weights_cache.checkpoint.state_dict import find_state_dict

TORCH_DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "U16": torch.uint16, "I16": torch.int16,
    "U32": torch.uint32, "I32": torch.int32, "U64": torch.uint64, "I64": torch.int64,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64, "C64": torch.complex64,
    "F8_E5M2": torch.float8_e5m2, "F8_E4M3": torch.float8_e4m3fn, "F8_E8M0": torch.float8_e8m0fnu,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}  # fmt: skip
"""Name of a stored type -> torch's type."""


def read_state_dict(path: str | Path, *, use_ema: bool = True) -> dict[str, torch.Tensor]:
    """Read a safetensors file, a torch checkpoint or an archive of numpy arrays, whichever its bytes say it is.

    Tensors that lie densely in the file are mapped from it, not copied; writing to them leaves the file as it is.

    Args:
        path: the file.
        use_ema: prefer the averaged weights where a training checkpoint holds both.

    Raises:
        NotFoundError: no such file.
        InvalidInputError: damaged, another format, a pickle that calls for more than tensors, or no tensors in it.
    """
    with open_checkpoint(path, use_ema=use_ema) as file:
        tensors = _mapped(file)
        file.require_unchanged()
    return tensors


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty where it has none. Raises as `read_state_dict`."""
    with open_safetensors(path) as file:
        return file.metadata


def clean_state_dict(checkpoint: Any, *, use_ema: bool = True) -> dict[str, torch.Tensor]:
    """Take the state dict out of a checkpoint in memory: unwrap it, strip prefixes, leave out what is no tensor.

    Raises:
        InvalidInputError: no tensors, two keys that become one, or a tensor that reaches beyond its storage.
    """
    where = "the checkpoint"
    given = checkpoint if isinstance(checkpoint, Mapping) else {}
    found = find_state_dict(given, lambda value: isinstance(value, torch.Tensor), use_ema=use_ema)
    if found.twice:
        raise InvalidInputError(f"{where} holds {found.twice!r} twice, with and without a prefix.")
    if not found.tensors:
        raise InvalidInputError(f"{where} should hold a state dict, found no tensor in it.")
    for name, value in found.tensors.items():
        _require_dense(where, name, value)
    return {name: value.detach() for name, value in found.tensors.items()}


def _require_dense(where: str, name: str, value: torch.Tensor) -> None:
    """Refuse what a few bytes can blow up to gigabytes, and what has no plain values."""
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        raise InvalidInputError(f"{where}: tensor {name!r} should be dense, found {value.layout} {value.dtype}.")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InvalidInputError(f"{where}: tensor {name!r} of shape {tuple(value.shape)} is larger than its data.")


def _mapped(file: Checkpoint) -> dict[str, torch.Tensor]:
    # A private mapping: pages that are written to become copies.
    whole = cast(torch.UntypedStorage, torch.UntypedStorage.from_file(file.path, shared=False, nbytes=file.size))
    return {name: _tensor(tensor, file, whole) for name, tensor in file.tensors.items()}


def _tensor(tensor: StoredTensor, file: Checkpoint, whole: torch.UntypedStorage) -> torch.Tensor:
    if tensor.dtype not in TORCH_DTYPES:
        raise InvalidInputError(
            f"{file.path}: tensor {tensor.name!r} has the dtype {tensor.dtype}, which zoo does not load.",
            path=file.path,
        )
    dtype, data = TORCH_DTYPES[tensor.dtype], tensor.data
    if not tensor.nbytes:
        return torch.empty(tensor.shape, dtype=dtype)
    # torch needs elements at multiples of their size.
    if isinstance(data, Region) and data.fd == file.fd and data.offset % dtype.itemsize == 0:
        # A storage of its own: autograd counts the changes of all views of one tensor together.
        part = whole[data.offset : data.offset + data.length]
        return torch.empty(0, dtype=dtype).set_(part, 0, tensor.shape)  # type: ignore[call-overload, no-any-return]
    return torch.frombuffer(bytearray(tensor.read()), dtype=dtype).reshape(tensor.shape)
