"""A weight file as a state dict of torch tensors. What strangers wrote is never executed."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from zoo.core.errors import InvalidInputError
from zoo.weights_cache.formats import Format, read_header, require_stored, sniff

_EMA_WRAPPERS = ("state_dict_ema", "model_ema")
_WRAPPERS = ("state_dict", "model")
_MAX_NESTING = 4
"""A pickle can hold a dictionary that contains itself."""
_PREFIXES = ("module.", "_orig_mod.")
"""Put before every key by DistributedDataParallel and by torch.compile."""


def read_state_dict(path: str | Path, *, use_ema: bool = True) -> dict[str, torch.Tensor]:
    """Read a safetensors file or a torch checkpoint, whichever its bytes say it is.

    Tensors of a safetensors file or a torch zip archive are mapped from the file, not copied.

    Args:
        path: the file.
        use_ema: prefer the averaged weights where a training checkpoint holds both.

    Raises:
        NotFoundError: no such file.
        InvalidInputError: damaged, another format, a pickle that calls for more than tensors, or no tensors in it.
    """
    path = Path(path)
    found = sniff(path)
    if found is Format.SAFETENSORS:
        return clean_state_dict(_read_safetensors(path), use_ema=use_ema, path=path)
    checkpoint = _read_torch(path, mapped=found is Format.TORCH_ZIP)
    return clean_state_dict(checkpoint, use_ema=use_ema, path=path)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty where it has none. Raises as `read_state_dict`."""
    metadata = read_header(Path(path)).get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidInputError(f"{path} has metadata that is not text.", path=str(path))
    return metadata


def clean_state_dict(checkpoint: Any, *, use_ema: bool = True, path: Path | None = None) -> dict[str, torch.Tensor]:
    """Take the state dict out of a checkpoint: unwrap it, strip wrapper prefixes, leave out what is no tensor.

    Raises:
        InvalidInputError: no tensors, two keys that become one, or a tensor that reaches beyond its storage.
    """
    where = str(path) if path else "the checkpoint"
    tensors: dict[str, torch.Tensor] = {}
    for key, value in _unwrap(checkpoint, use_ema).items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            continue
        name = _strip_prefixes(key)
        if name in tensors:
            raise InvalidInputError(f"{where} holds {name!r} twice, with and without a prefix.", path=str(path or ""))
        _require_dense(where, name, value)
        tensors[name] = value.detach()
    if not tensors:
        raise InvalidInputError(f"{where} should hold a state dict, found no tensor in it.", path=str(path or ""))
    return tensors


def _unwrap(checkpoint: Any, use_ema: bool) -> Mapping[Any, Any]:
    wrappers = (*_EMA_WRAPPERS, *_WRAPPERS) if use_ema else _WRAPPERS
    for _ in range(_MAX_NESTING):
        if not isinstance(checkpoint, Mapping):
            break
        inner = next((checkpoint[key] for key in wrappers if isinstance(checkpoint.get(key), Mapping)), None)
        if inner is None:
            return checkpoint
        checkpoint = inner
    return {}


def _strip_prefixes(key: str) -> str:
    while key.startswith(_PREFIXES):
        key = key.partition(".")[2]
    return key


def _require_dense(where: str, name: str, value: torch.Tensor) -> None:
    """Refuse what a few bytes can blow up to gigabytes, and what has no plain values."""
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        raise InvalidInputError(f"{where}: tensor {name!r} should be dense, found {value.layout} {value.dtype}.")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InvalidInputError(f"{where}: tensor {name!r} of shape {tuple(value.shape)} is larger than its data.")


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    read_header(path)  # stricter than the library: repeated names
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise InvalidInputError(
            f"{path} is no whole safetensors file: {error}.", hint="Download or copy it again.", path=str(path)
        ) from error


def _read_torch(path: Path, *, mapped: bool) -> Any:
    if mapped:
        require_stored(path)
    try:
        # torch warns of what it then refuses. A Namespace holds the training arguments of many checkpoints.
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals([argparse.Namespace]):
            # By path only where it is mapped: torch takes the name's word for a safetensors file.
            if mapped and path.suffix != ".safetensors":
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with open(path, "rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused is None:
            raise _unreadable(path) from error
        raise InvalidInputError(
            f"{path} is a pickle that asks for {refused[1]}, which a state dict has no need of; it was not loaded.",
            hint="Where it was made, save `model.state_dict()` alone, best as safetensors.",
            path=str(path),
        ) from error
    # Damaged bytes get as far as torch's assertions; none of that may look like a fault of ours.
    except Exception as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> InvalidInputError:
    return InvalidInputError(
        f"{path} should be a torch checkpoint with tensors; torch cannot read it.",
        hint="It is damaged, or a TorchScript archive: download it again, or save its state dict.",
        path=str(path),
    )
