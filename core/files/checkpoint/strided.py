"""Check tensors, as files describe them, against the available data, and lay them out densely."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod
from typing import NamedTuple

from zoo.core.files.checkpoint.contents import Contents
from zoo.core.files.checkpoint.pickled_array import NumpyArray
from zoo.core.files.checkpoint.torch_dtypes import ElementType
from zoo.core.files.checkpoint.torch_pickle import PickledTensor
from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.safetensors_file import is_text
from zoo.core.files.stored_tensor import Computed, Data, Region, StoredTensor, Unavailable, length_of

_TOO_LARGE = 1 << 63


class View(NamedTuple):
    """Elements in a run of bytes: their type, the first one, and the shape with its strides."""

    source: Region | Computed | bytes
    dtype: ElementType
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    negated: bool = False
    conjugated: bool = False

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.size


def view_of(name: str, value: PickledTensor | NumpyArray, contents: Contents) -> View:
    """The location of a dense tensor's elements. `name` is for messages.

    Raises UnsoundError for a view that reaches beyond its data.
    """
    if not is_text(name):
        raise UnsoundError(f"its tensor {name[:80]!r} has a name that is not Unicode text")
    if isinstance(value, NumpyArray):
        dtype = value.dtype or ElementType("unknown", 0)
        strides = tuple(reversed(_dense(value.shape[::-1]))) if value.fortran else _dense(value.shape)
        view = View(value.data, dtype, 0, value.shape, strides)
    else:
        dtype = value.dtype._replace(swapped=contents.swapped and value.dtype.size > 1)
        assert value.storage is not None  # a dense one
        source = contents.storages.get(value.storage.key)
        if source is None:
            raise UnsoundError(f"the data of tensor {name[:80]!r} are not in it")
        source = _part(name, source, value.storage.start, value.storage.count, value.storage.dtype.size)
        if any(stride < 0 for stride in value.strides) or len(value.strides) != len(value.shape):
            raise UnsoundError(f"its tensor {name[:80]!r} has impossible strides")
        view = View(source, dtype, value.offset, value.shape, value.strides, value.negated, value.conjugated)
    _require_within(name, view)
    return view


def dense(name: str, view: View) -> StoredTensor:
    """A view as a stored tensor; bytes that are already in order stay in place."""
    return StoredTensor(name, dtype_name(view.dtype), view.shape, _data(view))


def without_values(name: str, value: PickledTensor, path: str) -> StoredTensor:
    """A tensor that is not dense, so that zoo does not read its values."""
    kind = f"{value.layout} {value.dtype.name}"
    return StoredTensor(name, kind, value.shape, Unavailable(f"a {value.layout} one of {value.dtype.name}", path))


def dtype_name(dtype: ElementType) -> str:
    """The dtype's safetensors name, otherwise torch's."""
    return dtype.stored or dtype.name


def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a row-major tensor."""
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def _part(name: str, source: Region, start: int, count: int, size: int) -> Region:
    if min(start, count) < 0 or (start + count) * size > source.length:
        raise UnsoundError(
            f"the data of tensor {name[:80]!r} should be {count * size} bytes, found {source.length - start * size}"
        )
    return source._replace(offset=source.offset + start * size, length=count * size)


def _require_within(name: str, view: View) -> None:
    if any(size < 0 for size in view.shape) or prod(view.shape) >= _TOO_LARGE or view.offset < 0:
        raise UnsoundError(f"its tensor {name[:80]!r} has the impossible shape {str(view.shape)[:80]}")
    if 0 in view.shape:
        return
    available = length_of(view.source)
    if view.nbytes > available:
        raise UnsoundError(f"its tensor {name[:80]!r} of shape {view.shape} is larger than its data")
    last = view.offset + sum((n - 1) * stride for n, stride in _steps(view))
    if (last + 1) * view.dtype.size > available:
        raise UnsoundError(f"its tensor {name[:80]!r} reaches beyond its data")


def _data(view: View) -> Data:
    if 0 in view.shape:
        return b""
    steps = _steps(view)
    in_order = [stride for _, stride in steps] == list(_dense(tuple(n for n, _ in steps)))
    complex_ = view.dtype.name.startswith("complex")
    if (complex_ and view.negated) or (view.conjugated and view.dtype.name != "complex64"):
        return Unavailable(f"a lazily computed one of {view.dtype.name}", getattr(view.source, "path", ""))
    if (view.dtype.swapped and view.dtype.size not in (2, 4, 8)) or (view.dtype.swapped and complex_):
        return Unavailable(f"a big-endian one of {view.dtype.name}", getattr(view.source, "path", ""))
    if not in_order or view.dtype.swapped or view.negated or view.conjugated:
        return Computed(view.nbytes, partial(_gathered, view))
    if isinstance(view.source, Computed):
        return view.source if view.source.length == view.nbytes else Computed(view.nbytes, partial(_gathered, view))
    begin = view.offset * view.dtype.size
    if isinstance(view.source, Region):
        return view.source._replace(offset=view.source.offset + begin, length=view.nbytes)
    return view.source if len(view.source) == view.nbytes else memoryview(view.source)[begin : begin + view.nbytes]


def _steps(view: View) -> list[tuple[int, int]]:
    """Size and stride of each axis with more than one element; the other strides do not matter."""
    return [(n, stride) for n, stride in zip(view.shape, view.strides, strict=True) if n > 1]


def _gathered(view: View) -> Iterator[bytes | memoryview]:
    """The elements in the order of the shape, little-endian."""
    import numpy as np

    size = view.dtype.size
    begin = view.offset * size
    steps = _steps(view)
    buffer: bytes | memoryview
    if isinstance(view.source, Region):
        length = (sum((n - 1) * stride for n, stride in steps) + 1) * size
        span = view.source._replace(offset=view.source.offset + begin, length=length)
        buffer, begin = StoredTensor("", "U8", (), span).read(), 0
    elif isinstance(view.source, Computed):
        buffer = b"".join(view.source.compute())
    else:
        buffer = view.source
    shape, strides = tuple(n for n, _ in steps), tuple(size * stride for _, stride in steps)
    if size not in (1, 2, 4, 8):
        yield np.ndarray(shape, f"V{size}", buffer, begin, strides).tobytes()
        return
    order = ">" if view.dtype.swapped else "<"
    values = np.ndarray(shape, f"{order}u{size}", buffer, begin, strides).astype(f"<u{size}", order="C")
    if view.conjugated:
        values ^= np.array(1 << 63, values.dtype)  # the sign of the imaginary part, which comes second
    if view.negated and view.dtype.is_floating:
        values ^= np.array(1 << (8 * size - 1), values.dtype)  # the sign bit
    elif view.negated:
        np.negative(values, out=values)
    yield values.reshape(-1).view(np.uint8).data
