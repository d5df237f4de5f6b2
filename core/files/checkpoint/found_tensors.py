"""The tensors of a file that is not safetensors: a torch checkpoint, a pickle, an archive of arrays, a graph."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from math import prod
from typing import Any, NamedTuple

from zoo.core.errors import InvalidInputError
from zoo.core.files.checkpoint.contents import Contents
from zoo.core.files.checkpoint.legacy import read_pickles, read_tar
from zoo.core.files.checkpoint.onnx_model import read_onnx
from zoo.core.files.checkpoint.pickled_array import NumpyArray
from zoo.core.files.checkpoint.state_dict import Measure, TensorKind, find_state_dict
from zoo.core.files.checkpoint.strided import dense, view_of, without_values
from zoo.core.files.checkpoint.torch_pickle import PickledTensor
from zoo.core.files.checkpoint.torch_zip import read_zip
from zoo.core.files.checkpoint.unsound import NothingFoundError, UnsoundError, refused
from zoo.core.files.file_kind import FileKind
from zoo.core.files.stored_tensor import Region, StoredTensor

MAX_RATIO = 25
"""The same for what may be compressed, in units of MAX_GROWTH."""
MAX_GROWTH = 4
"""How many times larger than the file its tensors may be: there can be many views of one storage."""
_SLACK = 1 << 20


class FoundTensors(NamedTuple):
    """The state dict of a file, with the names in the file.

    `format` is "torch zip", "torch legacy", "torch tar", "pickle", "npz", "onnx", "pt2", "keras" or "flax msgpack".
    `wrapper` is the path of keys to the state dict. `skipped` has the path and kind of everything else in the file.
    `opaque` names the functions that the pickle asks for and that were not called. `aliases` maps the name of a tensor
    to the first tensor with the same bytes in the file. `metadata`, `graph` and `files` are as in `Contents`.
    """

    format: str
    tensors: dict[str, StoredTensor]
    wrapper: str
    skipped: tuple[tuple[str, str], ...]
    opaque: tuple[str, ...]
    aliases: dict[str, str]
    metadata: Mapping[str, str]
    graph: Mapping[str, Any]
    files: tuple[tuple[str, int], ...]


def find_tensors(
    whole: Region, kind: FileKind, resources: ExitStack, *, use_ema: bool, key: str = "", max_bytes: int | None = None
) -> FoundTensors:
    """Find the state dict of a file. No tensor is read except the arrays of an npz, which have checksums.

    Args:
        whole: the file.
        kind: the format by its first bytes: a zip archive, a pickle, a tar archive, HDF5 or MessagePack.
        resources: closes what must stay open.
        use_ema, key: as in `find_state_dict`.
        max_bytes: the most bytes that all tensors may take; by default MAX_GROWTH times the file.

    Raises InvalidInputError: damaged, hostile, not a checkpoint, or without a state dict.
    """
    try:
        contents = _contents(kind, whole, resources)
        try:
            found = find_state_dict(contents.value, _KIND, use_ema=use_ema, key=key)
        except NothingFoundError:
            if contents.opaque:  # the calls that were not made may have given the tensors
                raise refused(contents.opaque[0]) from None
            raise
        limit = max_bytes if max_bytes is not None else MAX_GROWTH * (whole.length + contents.backing) + _SLACK
        tensors, aliases = _stored(found.tensors, contents, limit, whole.path)
    except UnsoundError as error:
        raise _invalid(whole.path, kind, error) from error
    return FoundTensors(
        contents.format,
        tensors,
        found.wrapper,
        (*found.skipped, *contents.skipped),
        contents.opaque,
        aliases,
        contents.metadata,
        contents.graph,
        contents.files,
    )


def _contents(kind: FileKind, whole: Region, resources: ExitStack) -> Contents:
    match kind.reader:
        case "zip":
            return read_zip(whole, resources)
        case "pickle":
            return read_pickles(whole)
        case "tar":
            return read_tar(whole)
        case "onnx":
            return read_onnx(whole, resources)
        case "hdf5":
            from zoo.core.files.checkpoint.keras_file import read_keras

            return Contents("keras", read_keras(whole, resources), {}, backing=MAX_RATIO * whole.length)
        case "msgpack":
            from zoo.core.files.checkpoint.flax_msgpack import read_msgpack

            return Contents("flax msgpack", read_msgpack(whole), {})
    raise ValueError(f"no reader of checkpoints is called {kind.reader!r}")


def _is_tensor(value: Any) -> bool:
    if isinstance(value, NumpyArray):
        return value.dtype is not None and value.dtype.size > 0  # text, dates and objects have size 0
    return isinstance(value, PickledTensor)


def _measure(value: Any) -> Measure:
    values = prod(min(max(size, 0), 1 << 63) for size in value.shape)  # not checked yet
    return Measure(values, values * value.dtype.size, value.dtype.is_floating, not value.shape)


_KIND = TensorKind(_is_tensor, _measure)


def _stored(
    found: dict[str, Any], contents: Contents, limit: int, path: str
) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """The tensors with the location of their bytes, and the aliases among them."""
    tensors: dict[str, StoredTensor] = {}
    aliases: dict[str, str] = {}
    first: dict[Any, str] = {}
    total = 0
    for name, value in found.items():
        if isinstance(value, PickledTensor) and value.layout:
            tensors[name] = without_values(name, value, path)
            continue
        view = view_of(name, value, contents)
        total += view.nbytes
        if total > limit:
            raise UnsoundError(f"its tensors would take more than {limit} bytes, far more than the file", "")
        if isinstance(view.source, Region) and view.nbytes:
            original = first.setdefault(view, name)
            if original != name:
                aliases[name] = original
        tensors[name] = dense(name, view)
    return tensors, aliases


def _invalid(path: str, kind: FileKind, error: UnsoundError) -> InvalidInputError:
    if error.whole:
        return InvalidInputError(f"{path} {error.what}.", hint=error.hint, path=path)
    kinds = {
        "pickle": "pickle",
        "tar": "tar archive of torch",
        "hdf5": "HDF5 file of Keras",
        "onnx": "ONNX model",
        "msgpack": "MessagePack file of Flax",
    }
    return InvalidInputError(
        f"{path} is not a sound {kinds.get(kind.reader, 'archive')}: {error.what}.", hint=error.hint, path=path
    )
