"""Read the arrays of Flax, big_vision and scenic in MessagePack, without executing anything.

Arrays are extensions with code 1: a packed (shape, dtype, bytes). Arrays over 1 GiB are maps of flat pieces. Large byte
strings stay in the file. Formats: https://github.com/msgpack/msgpack/blob/master/spec.md and
https://flax.readthedocs.io/en/latest/api_reference/flax.serialization.html
"""

from __future__ import annotations

import struct
from math import prod
from typing import Any

from zoo.core.files.checkpoint.pickled_array import NumpyArray
from zoo.core.files.checkpoint.region_stream import open_region
from zoo.core.files.checkpoint.torch_dtypes import TORCH_DTYPES, numpy_dtype
from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.safetensors_file import MAX_RANK
from zoo.core.files.stored_tensor import Computed, Region, StoredTensor

MAX_OBJECTS = 2_000_000
_MAX_DEPTH = 64
_MAX_KEY = 4096
_MAX_HEADER = 1024
"""Bytes of a shape and a dtype before the bytes of an array."""
_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_OTHERS = ("opt_state", "opt", "optimizer", "optimizer_state", "step", "global_step", "rng")
"""What stands beside the arrays of a network in a training checkpoint."""
_PIECES = "__msgpack_chunked_array__"

_SIZED = {
    0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"),
    0xC7: ("ext", ">B"), 0xC8: ("ext", ">H"), 0xC9: ("ext", ">I"),
    0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
    0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i",
    0xD3: ">q",
}  # fmt: skip


def read_msgpack(whole: Region) -> dict[str, Any]:
    """The arrays by their path, keys joined by `/`, as big_vision names them; those of an optimizer are left out.

    Raises UnsoundError: damaged, deeper or larger than any checkpoint, or an array that is larger than its bytes.
    """
    reader = _Reader(whole)
    try:
        value = reader.value(0)
    except (struct.error, EOFError, UnicodeDecodeError, IndexError) as error:
        raise UnsoundError("its MessagePack ends early or is damaged") from error
    if reader.position != whole.length:
        raise UnsoundError("something follows the end of its MessagePack")
    if not isinstance(value, dict):
        raise UnsoundError("it should hold a map of arrays")
    return _flattened({key: inner for key, inner in value.items() if key not in _OTHERS})


class _Reader:
    def __init__(self, whole: Region) -> None:
        self._whole, self.position = whole, 0
        self._stream = open_region(whole)
        self._objects = 0

    def value(self, depth: int) -> Any:
        self._objects += 1
        if depth > _MAX_DEPTH or self._objects > MAX_OBJECTS:
            raise UnsoundError(f"it is nested more than {_MAX_DEPTH} deep, or has more than {MAX_OBJECTS} objects")
        code = self._read(1)[0]
        if code <= 0x7F or code >= 0xE0:
            return code if code <= 0x7F else code - 0x100
        if code <= 0x8F:
            return self._map(code & 0x0F, depth)
        if code <= 0x9F:
            return self._list(code & 0x0F, depth)
        if code <= 0xBF:
            return self._text(code & 0x1F)
        if code in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[code]
        if code in _NUMBERS:
            return struct.unpack(_NUMBERS[code], self._read(struct.calcsize(_NUMBERS[code])))[0]
        if 0xD4 <= code <= 0xD8:
            return self._extension(1 << (code - 0xD4))
        if code not in _SIZED:
            raise UnsoundError(f"its MessagePack has the unused code {code:#x}")
        kind, layout = _SIZED[code]
        (size,) = struct.unpack(layout, self._read(struct.calcsize(layout)))
        match kind:
            case "map":
                return self._map(size, depth)
            case "array":
                return self._list(size, depth)
            case "str":
                return self._text(size)
            case "ext":
                return self._extension(size)
        return self._skipped(size)

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) != count:
            raise EOFError
        self.position += count
        return data

    def _skipped(self, count: int) -> Region:
        """The place of bytes, which stay in the file."""
        if count > self._whole.length - self.position:
            raise EOFError
        region = self._whole._replace(offset=self._whole.offset + self.position, length=count)
        self._stream.seek(count, 1)
        self.position += count
        return region

    def _text(self, size: int) -> str:
        if size > _MAX_KEY:
            self._skipped(size)
            return ""
        return self._read(size).decode()

    def _list(self, size: int, depth: int) -> list[Any]:
        if size > self._whole.length - self.position:
            raise EOFError
        return [self.value(depth + 1) for _ in range(size)]

    def _map(self, size: int, depth: int) -> Any:
        if size > self._whole.length - self.position:
            raise EOFError
        found: dict[str, Any] = {}
        for _ in range(size):
            key = self.value(depth + 1)
            name = key if isinstance(key, str) else str(key) if type(key) is int else None
            if name is None or name in found:
                raise UnsoundError("a map of its MessagePack has two entries of one name, or one that is no name")
            found[name] = self.value(depth + 1)
        return _joined(found) if found.get(_PIECES) is True else found

    def _extension(self, size: int) -> Any:
        code = struct.unpack(">b", self._read(1))[0]
        end = self.position + size
        if end > self._whole.length:
            raise EOFError
        if code == _COMPLEX:
            self._skipped(size)
            return None
        if code not in (_ARRAY, _SCALAR):
            raise UnsoundError(f"its MessagePack has an extension with the code {code}, which Flax does not write")
        parts = self.value(_MAX_DEPTH - 3)
        if self.position != end or not isinstance(parts, list) or len(parts) != 3:
            raise UnsoundError("an array of its MessagePack does not have a shape, a dtype and bytes")
        shape, name, data = parts
        if not isinstance(data, Region) or not isinstance(name, str):
            raise UnsoundError("an array of its MessagePack does not have a shape, a dtype and bytes")
        if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(type(n) is int and n >= 0 for n in shape):
            raise UnsoundError("an array of its MessagePack has an impossible shape")
        dtype = TORCH_DTYPES.get(name) or numpy_dtype(name)
        if dtype.size and prod(shape) * dtype.size != data.length:
            raise UnsoundError(
                f"an array of its MessagePack should be {shape} of {name[:40]}, found {data.length} bytes"
            )
        return NumpyArray(dtype, tuple(shape), data)


def _joined(found: dict[str, Any]) -> NumpyArray:
    """An array that was written in flat pieces because it is larger than MessagePack allows."""
    shape, pieces = found.get("shape"), found.get("chunks")
    if not isinstance(shape, dict | list) or not isinstance(pieces, dict | list):
        raise UnsoundError("an array in pieces of its MessagePack has no shape or no pieces")
    sizes = _in_order(shape)
    parts = _in_order(pieces)
    first = parts[0] if parts else None
    if not isinstance(first, NumpyArray) or not all(
        isinstance(p, NumpyArray) and p.dtype == first.dtype for p in parts
    ):
        raise UnsoundError("an array in pieces of its MessagePack has pieces that do not go together")
    if len(sizes) > MAX_RANK or not all(type(n) is int and n >= 0 for n in sizes):
        raise UnsoundError("an array in pieces of its MessagePack has an impossible shape")
    assert first.dtype is not None
    regions = [part.data for part in parts]
    length = prod(sizes) * first.dtype.size
    if sum(region.length for region in regions) != length:
        raise UnsoundError(f"an array in pieces of its MessagePack should have {length} bytes")
    tensors = [StoredTensor("", "U8", (), region) for region in regions]
    return NumpyArray(first.dtype, tuple(sizes), Computed(length, lambda: (c for t in tensors for c in t.chunks())))


def _in_order(values: dict[str, Any] | list[Any]) -> list[Any]:
    """A list, which Flax writes as a map from its numbers."""
    if isinstance(values, list):
        return values
    if set(values) != {str(number) for number in range(len(values))}:
        raise UnsoundError("a list of its MessagePack lacks a number")
    return [values[str(number)] for number in range(len(values))]


def _flattened(value: dict[str, Any]) -> dict[str, Any]:
    """Nested maps as one, keys joined by `/`; what is no array is left out."""
    found: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, inner = waiting.pop()
        if isinstance(inner, NumpyArray):
            found[path] = inner
        elif isinstance(inner, dict):
            waiting += [(f"{path}/{key}" if path else key, child) for key, child in reversed(inner.items())]
        elif isinstance(inner, list):
            waiting += [(f"{path}/{number}", child) for number, child in reversed(list(enumerate(inner)))]
    return found
