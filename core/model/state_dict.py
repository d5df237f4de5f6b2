"""Read a weight file as a state dict of torch tensors. Untrusted content is never executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

from zoo.core.errors import InvalidInputError
from zoo.core.files.checkpoint.state_dict import Measure, TensorKind, find_state_dict
from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.open_weights import OpenedWeights, open_weights
from zoo.core.files.stored_tensor import Region, StoredTensor, Unavailable
from zoo.core.files.tensor_names import dropped_by
from zoo.core.files.wrapper_names import bare_names

TORCH_DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "U16": torch.uint16, "I16": torch.int16,
    "U32": torch.uint32, "I32": torch.int32, "U64": torch.uint64, "I64": torch.int64,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64, "C64": torch.complex64,
    "F8_E5M2": torch.float8_e5m2, "F8_E4M3": torch.float8_e4m3fn, "F8_E8M0": torch.float8_e8m0fnu,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "complex32": torch.complex32, "complex128": torch.complex128,
}  # fmt: skip
"""Name of a stored dtype -> torch dtype."""


def read_state_dict(path: str | Path, *, use_ema: bool = True, key: str = "") -> dict[str, torch.Tensor]:
    """Read a weight file of any kind, a shard index, or a folder that holds one; the bytes decide which it is.

    Tensors stored densely in the file are memory-mapped, not copied; writing to them leaves the file unchanged.

    Args:
        path: the file or folder.
        use_ema: prefer the averaged weights if a training checkpoint holds both.
        key: path of the state dict in a checkpoint, as in `open_weights`; "" finds it.

    Raises:
        NotFoundError: no such file.
        InvalidInputError: damaged, an unknown format, a pickle whose tensors only a call would give, no tensors in it,
            or several state dicts and no key.
    """
    return read_weights(path, use_ema=use_ema, key=key).tensors


class ReadWeights(NamedTuple):
    """A state dict, notes for the user on how it was found, and the names of tensors that were not read."""

    tensors: dict[str, torch.Tensor]
    notes: tuple[str, ...]
    dropped: tuple[str, ...] = ()


def read_weights(path: str | Path, *, use_ema: bool = True, key: str = "", drop: Sequence[str] = ()) -> ReadWeights:
    """Like `read_state_dict`, with notes; tensors whose names match one of the wildcards `drop` are not read.

    Also raises UsageError for a wildcard that matches no name.
    """
    with open_weights(path, use_ema=use_ema, key=key) as opened:
        dropped = dropped_by(opened.tensors, drop, str(path))
        kept = {name: tensor for name, tensor in opened.tensors.items() if name not in dropped}
        tensors = _mapped(opened._replace(tensors=kept))
        opened.require_unchanged()
        return ReadWeights(tensors, opened.notes(), tuple(dropped))


def clean_state_dict(checkpoint: Any, *, use_ema: bool = True, key: str = "") -> dict[str, torch.Tensor]:
    """Extract the state dict from a checkpoint in memory: find it, remove wrappers from names, leave the rest out.

    Raises:
        InvalidInputError: no tensors, several state dicts and no key, two names that become one, or a tensor that
            reaches beyond its storage.
    """
    where = "the checkpoint"
    try:
        found = find_state_dict(checkpoint, _IN_MEMORY, use_ema=use_ema, key=key)
    except UnsoundError as error:
        raise InvalidInputError(f"{where} {error.what}.", hint=error.hint) from None
    bare = bare_names(found.tensors)
    if bare.twice:
        raise InvalidInputError(f"{where} holds {bare.twice!r} twice, with and without a prefix.")
    for name, value in found.tensors.items():
        _require_dense(where, name, value)
    return {name: found.tensors[given].detach() for given, name in bare.names.items()}


def _measure(value: torch.Tensor) -> Measure:
    is_weight = value.is_floating_point() or value.is_complex() or value.is_quantized
    return Measure(value.numel(), value.numel() * value.element_size(), is_weight, not value.ndim)


def _state_of_module(value: Any) -> Mapping[str, Any] | None:
    return value.state_dict() if isinstance(value, torch.nn.Module) else None


_IN_MEMORY = TensorKind(lambda value: isinstance(value, torch.Tensor), _measure, _state_of_module)


def _require_dense(where: str, name: str, value: torch.Tensor) -> None:
    """Refuse a tensor that a few bytes can expand to gigabytes, or that has no plain values."""
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        raise InvalidInputError(f"{where}: tensor {name!r} should be dense, found {value.layout} {value.dtype}.")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InvalidInputError(f"{where}: tensor {name!r} of shape {tuple(value.shape)} is larger than its data.")


def _mapped(opened: OpenedWeights) -> dict[str, torch.Tensor]:
    # The mapping is private: writing to a page makes a copy of it.
    whole = {
        file.fd: cast(torch.UntypedStorage, torch.UntypedStorage.from_file(file.path, shared=False, nbytes=file.size))
        for file in opened.files
    }
    return {name: _tensor(tensor, opened.path, whole) for name, tensor in opened.tensors.items()}


def _tensor(tensor: StoredTensor, path: str, whole: Mapping[int, torch.UntypedStorage]) -> torch.Tensor:
    if isinstance(tensor.data, Unavailable):
        raise tensor.refusal(f"should be dense, found {tensor.data.why}")
    if tensor.dtype not in TORCH_DTYPES:
        raise InvalidInputError(
            f"{path}: tensor {tensor.name!r} has the dtype {tensor.dtype}, which zoo does not load.", path=path
        )
    dtype, data = TORCH_DTYPES[tensor.dtype], tensor.data
    if not tensor.nbytes:
        return torch.empty(tensor.shape, dtype=dtype)
    # torch needs elements aligned to their size.
    if isinstance(data, Region) and data.fd in whole and data.offset % dtype.itemsize == 0:
        # Each tensor has a storage of its own: autograd counts the changes of all views of a tensor together.
        part = whole[data.fd][data.offset : data.offset + data.length]
        return torch.empty(0, dtype=dtype).set_(part, 0, tensor.shape)  # type: ignore[call-overload, no-any-return]
    return torch.frombuffer(bytearray(tensor.read()), dtype=dtype).reshape(tensor.shape)
