"""Read .pt2 archives of torch.export: weights in place, inputs and outputs, metadata. No graph is loaded.

Format: https://docs.pytorch.org/docs/stable/export/pt2_archive.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from zoo.core.files.checkpoint.contents import Contents
from zoo.core.files.checkpoint.torch_dtypes import TORCH_DTYPES, checked_sizes
from zoo.core.files.checkpoint.torch_pickle import PickledTensor, Storage
from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.checkpoint.zip_archive import STORED, ZipEntry

_WEIGHTS = "data/weights/model_weights_config.json"
_MODEL = "models/model.json"
_EXTRA = "extra/"
_MAX_JSON = 1 << 25
_MAX_EXTRA = 1 << 20

_SCALAR_TYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2",
}  # fmt: skip
"""The numbers of torch's dtypes in the archive."""


def root_of(entries: Mapping[str, ZipEntry]) -> str | None:
    """The folder within a .pt2 archive that holds everything; None for any other archive."""
    return next((name.removesuffix(_WEIGHTS) for name in entries if name.endswith(f"/{_WEIGHTS}")), None)


def read_exported_program(entries: Mapping[str, ZipEntry], root: str) -> Contents:
    """The weights of an exported program by name. Raises UnsoundError."""
    config = _object(_json(entries[f"{root}{_WEIGHTS}"]).get("config"))
    folder = f"{root}{os.path.dirname(_WEIGHTS)}/"
    storages, tensors, skipped = {}, {}, []
    for name, facts in config.items():
        facts = _object(facts)
        entry = entries.get(f"{folder}{facts.get('path_name')}")
        if entry is None or entry.method != STORED:
            raise UnsoundError(f"the data of tensor {name[:80]!r} are not in it")
        if facts.get("use_pickle"):
            skipped.append((name[:80], "a tensor in a pickle of its own"))
            continue
        tensors[name] = _tensor(name, _object(facts.get("tensor_meta")), entry)
        storages[entry.name] = entry.data
    extra = {
        name.removeprefix(root + _EXTRA): _text(entry)
        for name, entry in entries.items()
        if name.startswith(root + _EXTRA) and entry.size <= _MAX_EXTRA and entry.method == STORED
    }
    graph = _graph(entries[f"{root}{_MODEL}"]) if f"{root}{_MODEL}" in entries else {}
    return Contents("pt2", tensors, storages, metadata=extra, graph=graph, skipped=tuple(skipped))


def _tensor(name: str, meta: Mapping[str, Any], entry: ZipEntry) -> PickledTensor:
    dtype = TORCH_DTYPES.get(_SCALAR_TYPES.get(meta.get("dtype", 0), ""))
    if dtype is None:
        raise UnsoundError(f"its tensor {name[:80]!r} is of a type of torch's that is unknown here", "")
    try:
        shape, strides = (checked_sizes([size["as_int"] for size in meta[key]]) for key in ("sizes", "strides"))
        (offset,) = checked_sizes([meta["storage_offset"]["as_int"]])
    except (KeyError, TypeError, ValueError):
        raise UnsoundError(f"its tensor {name[:80]!r} has no sound shape") from None
    if min((*shape, offset)) < 0:
        raise UnsoundError(f"its tensor {name[:80]!r} has no sound shape")
    storage = Storage(entry.name, dtype, entry.data.length // dtype.size)
    return PickledTensor(storage, dtype, offset, shape, strides)


def _graph(entry: ZipEntry) -> dict[str, Any]:
    """Inputs and outputs, as far as the description is of the form that is known."""
    if entry.size > _MAX_JSON or entry.method != STORED:
        return {}
    model = _json(entry)
    try:
        module = model["graph_module"]
        values = module["graph"]["tensor_values"]
        specs = module["signature"]
        inputs = [one["user_input"]["arg"]["as_tensor"]["name"] for one in specs["input_specs"] if "user_input" in one]
        outputs = [
            one["user_output"]["arg"]["as_tensor"]["name"] for one in specs["output_specs"] if "user_output" in one
        ]
        return {
            "inputs": [_value(name, values[name]) for name in inputs],
            "outputs": [_value(name, values[name]) for name in outputs],
            "torch_version": str(model.get("torch_version", ""))[:80],
        }
    except (KeyError, TypeError, AttributeError):
        return {}


def _value(name: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    shape = [size.get("as_int", "?") for size in meta["sizes"]]
    return {"name": str(name), "dtype": _SCALAR_TYPES.get(meta["dtype"], "?"), "shape": shape}


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnsoundError("its table of weights is no table")
    return value


def _json(entry: ZipEntry) -> dict[str, Any]:
    if entry.size > _MAX_JSON or entry.method != STORED:
        raise UnsoundError(f"its entry {entry.name[:80]!r} takes {entry.size} bytes, over {_MAX_JSON}", "")
    try:
        return _object(json.loads(_text(entry)))
    except (ValueError, RecursionError):
        raise UnsoundError(f"its entry {entry.name[:80]!r} is no JSON") from None


def _text(entry: ZipEntry) -> str:
    try:
        return os.pread(entry.data.fd, entry.data.length, entry.data.offset).decode()
    except UnicodeDecodeError:
        raise UnsoundError(f"its entry {entry.name[:80]!r} is no text") from None
