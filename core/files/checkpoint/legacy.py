"""Torch checkpoints that are not zip archives: consecutive pickles followed by raw storages, and the tar of torch 0.3.

Torch's own reader, torch.serialization._legacy_load, defines the format.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from io import BufferedReader
from typing import Any

from zoo.core.files.checkpoint.contents import Contents
from zoo.core.files.checkpoint.pickle_machine import PickleMachine
from zoo.core.files.checkpoint.region_stream import open_region
from zoo.core.files.checkpoint.torch_dtypes import ElementType
from zoo.core.files.checkpoint.torch_pickle import PickledTensor, Storage, TorchVocabulary, storage_of
from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.safetensors_file import MAX_RANK
from zoo.core.files.stored_tensor import Region

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MAX_STORAGES = 100_000
_BLOCK = 512
_TAR_PARTS = ("storages", "tensors", "pickle")


def read_pickles(whole: Region) -> Contents:
    """Read a file of pickles: a legacy torch checkpoint, or one pickle of plain data and numpy arrays."""
    stream = open_region(whole)
    opaque: dict[str, None] = {}
    first = _load(stream, whole, opaque=opaque)
    if type(first) is not int or first != _MAGIC:
        if stream.read(1):
            raise UnsoundError("something follows the end of its pickle")
        return Contents("pickle", first, {}, opaque=tuple(opaque))
    if _load(stream, whole) != _PROTOCOL:
        raise UnsoundError("its protocol is not the one that torch writes")
    _load(stream, whole)  # the machine it was saved on; storages are little-endian anyway
    types: dict[str, ElementType] = {}

    def persistent(key: Any) -> Any:
        if key[0] == "module":
            return key[1]
        storage = _storage(key)
        types.setdefault(storage.key, storage.dtype)
        return storage

    value = _load(stream, whole, persistent, opaque)
    keys = _load(stream, whole)
    if not isinstance(keys, list):
        raise UnsoundError("the list of its storages is missing")
    storages: dict[str, Region] = {}
    position = stream.tell()
    for key in keys:
        if not isinstance(key, str | int) or str(key) not in types or str(key) in storages:
            raise UnsoundError("one of its storages belongs to no tensor")
        storages[str(key)] = region = _counted(whole, position, types[str(key)].size)
        position = region.offset - whole.offset + region.length
    if position != whole.length:
        raise UnsoundError(f"its data end at byte {position}, the file at {whole.length}")
    return Contents("torch legacy", value, storages, opaque=tuple(opaque))


def _load(
    stream: BufferedReader,
    region: Region,
    persistent: Callable[[Any], Any] | None = None,
    opaque: dict[str, None] | None = None,
) -> Any:
    """Read one pickle from a stream of the region; without `opaque`, unknown calls are refused."""
    return PickleMachine(stream, TorchVocabulary(persistent, opaque), region).load()


def _storage(key: Any) -> Storage:
    """The storage for a persistent id of a legacy file: a whole storage, or with a sixth element a part of one."""
    kind, dtype, root, _, count, view = key
    if kind != "storage":
        raise ValueError("a persistent id that is no storage")
    whole = storage_of(dtype, root, count)
    if view is None:
        return whole
    _, start, length = view
    part = storage_of(dtype, root, length, start)
    if part.start + part.count > whole.count:
        raise ValueError("a part beyond its storage")
    return part


def _counted(whole: Region, position: int, size: int) -> Region:
    """The elements at a position, where their count comes first."""
    raw = os.pread(whole.fd, min(8, max(0, whole.length - position)), whole.offset + position)
    count = int.from_bytes(raw, "little", signed=True)
    if len(raw) < 8 or count < 0 or position + 8 + count * size > whole.length:
        raise UnsoundError("it ends within its data")
    return whole._replace(offset=whole.offset + position + 8, length=count * size)


# ---------------------------------------------------------------- tar


def read_tar(whole: Region) -> Contents:
    """Read the tar archive that torch wrote before version 0.4."""
    parts = _tar_parts(whole)
    if missing := [name for name in _TAR_PARTS if name not in parts]:
        raise UnsoundError(
            f"is a tar archive without {missing[0]}, not one that torch wrote",
            "Unpack it, and use what is inside.",
            whole=True,
        )
    objects: dict[str, Any] = {}
    try:
        storages = _read_storages(parts["storages"], objects)
        _read_tensors(parts["tensors"], objects)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UnsoundError(f"its tables of storages and tensors are damaged ({str(error)[:80]})") from None

    def persistent(key: Any) -> Any:
        return key[0] if isinstance(key, tuple) else objects[_name(key)]

    opaque: dict[str, None] = {}
    value = _load(open_region(parts["pickle"]), parts["pickle"], persistent, opaque)
    return Contents("torch tar", value, storages, opaque=tuple(opaque))


def _read_storages(part: Region, objects: dict[str, Any]) -> dict[str, Region]:
    """The storages by key; adds them, and the parts of them that tensors use, to `objects`."""
    storages: dict[str, Region] = {}
    stream = open_region(part)
    for _ in range(_count(stream, part)):
        key, _, dtype = _load(stream, part)
        region = _counted(part, stream.tell(), dtype.size)
        stream.seek(region.offset - part.offset + region.length)
        storages[_name(key)] = region
        objects[_name(key)] = storage_of(dtype, key, region.length // dtype.size)
    for target, root, start, count in _load(stream, part):
        objects[_name(target)] = storage_of(objects[_name(root)].dtype, root, count, start)
    return storages


def _read_tensors(part: Region, objects: dict[str, Any]) -> None:
    stream = open_region(part)
    for _ in range(_count(stream, part)):
        key, storage_key, _ = _load(stream, part)
        storage = objects[_name(storage_key)]
        if not isinstance(storage, Storage):
            raise TypeError("a tensor without a storage")
        rank = _numbers(stream, 1)[0] & 0xFFFFFFFF  # 4 bytes, followed by 4 unused ones
        if rank > MAX_RANK:
            raise UnsoundError(f"one of its tensors has {rank} dimensions")
        shape, strides, (offset,) = _numbers(stream, rank), _numbers(stream, rank), _numbers(stream, 1)
        objects[_name(key)] = PickledTensor(storage, storage.dtype, offset, shape, strides)


def _name(key: Any) -> str:
    if not isinstance(key, str | int):
        raise TypeError("a key that is none")
    return str(key)


def _count(stream: BufferedReader, part: Region) -> int:
    count = _load(stream, part)
    if type(count) is not int or not 0 <= count <= _MAX_STORAGES:
        raise UnsoundError(f"it should hold up to {_MAX_STORAGES} storages, found another number")
    return count


def _numbers(stream: BufferedReader, count: int) -> tuple[int, ...]:
    raw = stream.read(8 * count)
    if len(raw) != 8 * count:
        raise UnsoundError("it ends within a tensor")
    return struct.unpack(f"<{count}q", raw)


def _tar_parts(whole: Region) -> dict[str, Region]:
    """The regular files of an archive by name; other entries are ignored."""
    parts: dict[str, Region] = {}
    position = 0
    for _ in range(_MAX_STORAGES):
        head = os.pread(whole.fd, _BLOCK, whole.offset + position)
        if len(head) < _BLOCK or not any(head):
            return parts
        size = _tar_number(head[124:136])
        # The checksum counts its own field as spaces.
        if sum(head) - sum(head[148:156]) + 8 * 0x20 != _tar_number(head[148:156]):
            raise UnsoundError("a header of its tar archive is damaged")
        data = position + _BLOCK
        if size < 0 or data + size > whole.length:
            raise UnsoundError("it ends within its tar archive")
        name = head[:100].rstrip(b"\0").decode("latin-1").removeprefix("./")
        if head[156:157] in (b"0", b"\0"):
            if name in parts:
                raise UnsoundError(f"it has two entries called {name[:80]!r}")
            parts[name] = whole._replace(offset=whole.offset + data, length=size)
        position = data + -(-size // _BLOCK) * _BLOCK
    raise UnsoundError("its tar archive has too many entries")


def _tar_number(field: bytes) -> int:
    """Parse octal digits, or after a first byte 0x80 a big-endian number (GNU's, for 8 GiB and more)."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits.isdigit() or digits.strip(b"01234567"):
        raise UnsoundError("a header of its tar archive is damaged")
    return int(digits, 8)
