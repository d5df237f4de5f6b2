"""Read the weights of Keras: .h5, .weights.h5 and .keras, through h5py, an extra.

A name is that of the layer and of its variable, `conv1_conv/kernel`, in all three. Arrays that lie in the file in order
stay there as regions; those in chunks are read when they are written. HDF5 can refer to other files: such datasets are
refused. Format: https://docs.hdfgroup.org/hdf5/v1_14/_f_m_t3.html
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from zoo.core.extras import import_extra
from zoo.core.files.checkpoint.pickled_array import NumpyArray
from zoo.core.files.checkpoint.torch_dtypes import numpy_dtype
from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.safetensors_file import MAX_RANK
from zoo.core.files.stored_tensor import Computed, Region

MAX_OBJECTS = 100_000
MAX_RATIO = 100
"""How many times larger than the file all arrays may be: only zeros compress to a thousandth."""
_MAX_DEPTH = 24
_OTHERS = ("optimizer", "optimizer_weights", "_trainable_variables", "_non_trainable_variables", "metrics")
"""What stands beside the layers of a training checkpoint."""
_VARIABLES = {
    ("batch_normalization", 4): ("gamma", "beta", "moving_mean", "moving_variance"),
    ("batch_normalization", 3): ("beta", "moving_mean", "moving_variance"),
    ("layer_normalization", 2): ("gamma", "beta"),
    ("normalization", 3): ("mean", "variance", "count"),
    ("conv2d", 2): ("kernel", "bias"),
    ("conv2d", 1): ("kernel",),
    ("depthwise_conv2d", 2): ("kernel", "bias"),
    ("depthwise_conv2d", 1): ("kernel",),
    ("separable_conv2d", 3): ("depthwise_kernel", "pointwise_kernel", "bias"),
    ("separable_conv2d", 2): ("depthwise_kernel", "pointwise_kernel"),
    ("dense", 2): ("kernel", "bias"),
    ("dense", 1): ("kernel",),
    ("layer_scale", 1): ("gamma",),
}
"""Class of a layer and number of its variables -> their names: .weights.h5 numbers them."""


def read_keras(region: Region, resources: ExitStack) -> dict[str, NumpyArray]:
    """The arrays by the names of layers and variables.

    Args:
        region: the HDF5 file, which may lie within another file if it starts on its own descriptor.
        resources: keeps the file open.

    Raises UnsoundError: damaged, in parts elsewhere, too many objects, or arrays that would take over MAX_RATIO times
    the file. InvalidInputError: h5py is not installed.
    """
    h5py = import_extra("h5py", "keras", "Reading weights of Keras")
    stream = resources.enter_context(os.fdopen(os.dup(region.fd), "rb"))
    try:
        file = resources.enter_context(h5py.File(stream, "r"))
        reader = _Reader(h5py, region)
        reader.visit(file.get("model_weights", file), (), "", 0)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnsoundError(f"h5py cannot read it: {str(error)[:200]}") from error
    return reader.arrays


class _Reader:
    def __init__(self, h5py: Any, region: Region) -> None:
        self._h5py, self._region = h5py, region
        self.arrays: dict[str, NumpyArray] = {}
        self._objects = 0
        self._left = MAX_RATIO * region.length

    def visit(self, group: Any, path: tuple[str, ...], layer: str, depth: int) -> None:
        """Take the datasets below a group; `layer` is the name that a numbered layer states."""
        if depth > _MAX_DEPTH:
            raise UnsoundError(f"its groups are nested more than {_MAX_DEPTH} deep")
        stated = group.attrs.get("name", "") if path[-1:] == ("vars",) else ""
        layer = stated if isinstance(stated, str) and stated else layer
        for name in group:
            self._objects += 1
            if self._objects > MAX_OBJECTS:
                raise UnsoundError(f"it has more than {MAX_OBJECTS} objects")
            if not path and name in _OTHERS:
                continue
            if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                raise UnsoundError(f"its object {name[:80]!r} is a link to elsewhere")
            member = group[name]
            if isinstance(member, self._h5py.Group):
                self.visit(member, (*path, name), layer, depth + 1)
            elif isinstance(member, self._h5py.Dataset):
                self._take(member, self._name(group, path, name, layer))

    def _name(self, group: Any, path: tuple[str, ...], name: str, layer: str) -> str:
        if path[-1:] == ("vars",) and name.isdecimal():
            kind = path[-2].rstrip("0123456789").rstrip("_") if len(path) > 1 else ""
            known = _VARIABLES.get((kind, len(group)), ())
            variable = known[int(name)] if int(name) < len(known) else name
            return f"{layer or '/'.join(path[:-1])}/{variable}"
        variable = name.partition(":")[0]
        if variable == "depthwise_kernel" and not any(other.startswith("pointwise_kernel") for other in group):
            variable = "kernel"  # version 3 calls it so
        return "/".join((*path[1:], variable)) if len(path) > 1 else "/".join((*path, variable))

    def _take(self, dataset: Any, name: str) -> None:
        if name in self.arrays:
            raise UnsoundError(f"it has two arrays called {name[:80]!r}")
        if dataset.external or dataset.is_virtual:
            raise UnsoundError(f"its array {name[:80]!r} lies in another file")
        shape, dtype = dataset.shape, numpy_dtype(dataset.dtype.str)
        if shape is None or len(shape) > MAX_RANK or not dtype.size:
            return  # text, or nothing
        self._left -= dataset.size * dtype.size
        if self._left < 0:
            raise UnsoundError(f"its arrays would take over {MAX_RATIO} times its size")
        length = dataset.size * dtype.size
        offset = dataset.id.get_offset() if dataset.chunks is None else None
        data: Region | Computed
        if offset is not None and self._region.length - length >= offset >= 0:
            data = self._region._replace(offset=self._region.offset + offset, length=length)
        else:
            data = Computed(length, lambda: _values(dataset))
        self.arrays[name] = NumpyArray(dtype, tuple(map(int, shape)), data)


def _values(dataset: Any) -> Iterator[bytes]:
    try:
        yield dataset[()].tobytes()
    except (OSError, RuntimeError, ValueError) as error:
        from zoo.core.errors import InvalidInputError

        raise InvalidInputError(f"The array {dataset.name[:80]!r} could not be read: {str(error)[:200]}.") from error
