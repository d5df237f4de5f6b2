"""A weight file as a state dict of torch tensors. What strangers wrote is never executed."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from zoo.core.errors import InvalidInputError
from zoo.core.safetensors_file import open_safetensors, sniff
from zoo.weights_cache.npz import is_npz, read_npz

_EMA_WRAPPERS = ("state_dict_ema", "model_ema")
_WRAPPERS = ("state_dict", "model", "encoder")
_MAX_NESTING = 4
"""A pickle can hold a dictionary that contains itself."""
_PREFIXES = ("module.", "_orig_mod.")
"""Put before every key by DistributedDataParallel and by torch.compile."""


def read_state_dict(path: str | Path, *, use_ema: bool = True) -> dict[str, torch.Tensor]:
    """Read a safetensors file, a torch checkpoint or an archive of numpy arrays, whichever its bytes say it is.

    Tensors of a safetensors file or a torch zip archive are mapped from the file, not copied.

    Args:
        path: the file.
        use_ema: prefer the averaged weights where a training checkpoint holds both.

    Raises:
        NotFoundError: no such file.
        InvalidInputError: damaged, another format, a pickle that calls for more than tensors, or no tensors in it.
    """
    path = Path(path)
    match _kind(path):
        case "a torch or zip file" if is_npz(path):
            checkpoint = read_npz(path)
        case "a torch or zip file":
            _require_stored(path)
            checkpoint = _read_torch(path, mapped=True)
        case "a pickle":
            checkpoint = _read_torch(path, mapped=False)
        case _:
            checkpoint = _read_safetensors(path)
    return clean_state_dict(checkpoint, use_ema=use_ema, path=path)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty where it has none. Raises as `read_state_dict`."""
    with open_safetensors(path) as file:
        return file.metadata


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


def _kind(path: Path) -> str:
    """What the first bytes say. For anything but a regular file '', and opening it as safetensors tells the rest."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        head = file.read(512)
    if head[257:262] == b"ustar":
        raise InvalidInputError(
            f"{path} should be a weight file, found a tar archive.",
            hint="Unpack it; one that torch wrote before version 0.4 has to be saved again with a current torch.",
            path=str(path),
        )
    return sniff(head)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    with open_safetensors(path):  # stricter than the library, which takes the last of two equal names
        pass
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise InvalidInputError(
            f"{path} is not a sound safetensors file: {error}.", hint="Download or copy it again.", path=str(path)
        ) from error


def _require_stored(path: Path) -> None:
    """Refuse an archive with compressed entries: torch writes none, and a small one can fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = next((i.filename for i in archive.infolist() if i.compress_type != zipfile.ZIP_STORED), None)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise _unreadable(path) from error
    if packed is not None:
        raise InvalidInputError(
            f"{path} should be a torch archive, found the compressed entry {packed!r}.",
            hint="Unpack it if it is an ordinary zip file, and use what is inside.",
            path=str(path),
        )


def _read_torch(path: Path, *, mapped: bool) -> Any:
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
