"""Read zip archives: torch checkpoints and archives of numpy arrays; name related formats in the error."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from zoo.core.files.checkpoint.contents import Contents
from zoo.core.files.checkpoint.exported_program import read_exported_program, root_of
from zoo.core.files.checkpoint.numpy_archive import is_numpy, read_arrays, unpacked_entry
from zoo.core.files.checkpoint.pickle_machine import PickleMachine
from zoo.core.files.checkpoint.region_stream import open_region
from zoo.core.files.checkpoint.torch_pickle import Storage, TorchVocabulary, storage_of
from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.checkpoint.zip_archive import DEFLATED, STORED, ZipEntry, read_directory
from zoo.core.files.stored_tensor import Region

_PICKLE = "data.pkl"
_KERAS = "model.weights.h5"
_EXPORTED = "Save its state dict: torch.save(torch.export.load(FILE).state_dict, OUT)."
# Entries that identify an archive: (the name or its end, the format, what to do).
_RELATIVES = (
    (
        "constants.pkl",
        "a TorchScript archive",
        "Save its state dict: torch.save(torch.jit.load(FILE).state_dict(), OUT).",
    ),
    ("models/model.json", "a .pt2 archive of torch.export", _EXPORTED),
    ("archive_format", "a .pt2 archive of torch.export", _EXPORTED),
    ("serialized_exported_program.json", "a .pt2 archive of torch.export", _EXPORTED),
)


def read_zip(whole: Region, resources: ExitStack) -> Contents:
    """Read a torch checkpoint or an archive of numpy arrays. Raises UnsoundError, which names the format if known."""
    entries = read_directory(whole.path, whole.fd)
    if is_numpy(entries):
        arrays = read_arrays(entries, resources)
        unpacked = sum(entry.size for entry in entries.values() if entry.method == DEFLATED)
        return Contents("npz", arrays, {}, backing=unpacked)
    if _KERAS in entries:
        return _read_keras(entries[_KERAS], resources)
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith(f"/{_PICKLE}")]
    if (root := root_of(entries)) is not None:
        return read_exported_program(entries, root)
    _refuse_relatives(entries)
    if len(pickles) != 1:
        raise _no_checkpoint(entries)
    packed = next((entry.name for entry in entries.values() if entry.method != STORED), None)
    if packed is not None:
        raise UnsoundError(
            f"should be a torch archive, found the compressed entry {packed[:80]!r}",
            "Unpack it if it is an ordinary zip file, and use what is inside.",
            whole=True,
        )
    root = pickles[0].removesuffix(_PICKLE)
    prefix = f"{root}data/"
    storages = {name.removeprefix(prefix): e.data for name, e in entries.items() if name.startswith(prefix)}
    opaque: dict[str, None] = {}
    value = _unpickled(entries[pickles[0]], opaque)
    swapped = _is_big_endian(entries.get(f"{root}byteorder"))
    return Contents("torch zip", value, storages, swapped=swapped, opaque=tuple(opaque))


def _read_keras(entry: ZipEntry, resources: ExitStack) -> Contents:
    from zoo.core.files.checkpoint.keras_file import read_keras

    weights = unpacked_entry(entry, resources)
    return Contents("keras", read_keras(weights, resources), {}, backing=weights.length)


def _unpickled(entry: ZipEntry, opaque: dict[str, None]) -> Any:
    stream = open_region(entry.data)
    # torch can be told to write no checksums (torch.serialization.set_crc32_options).
    if entry.crc and _crc(entry.data) != entry.crc:
        raise UnsoundError("its pickle does not have the checksum that the archive states")
    value = PickleMachine(stream, TorchVocabulary(_storage, opaque), entry.data).load()
    if stream.read(1):
        raise UnsoundError("something follows the end of its pickle")
    return value


def _crc(region: Region) -> int:
    crc = 0
    stream = open_region(region)
    while chunk := stream.read(1 << 20):
        crc = zlib.crc32(chunk, crc)
    return crc


def _storage(key: Any) -> Storage:
    kind, dtype, name, _, count = key
    if kind != "storage":
        raise ValueError("a persistent id that is no storage")
    return storage_of(dtype, name, count)


def _is_big_endian(entry: ZipEntry | None) -> bool:
    if entry is None:
        return False
    order = os.pread(entry.data.fd, min(entry.data.length, 8), entry.data.offset)
    if order not in (b"little", b"big"):
        raise UnsoundError("its byte order is neither little-endian nor big-endian")
    return order == b"big"


def _refuse_relatives(entries: Mapping[str, ZipEntry]) -> None:
    for end, what, advice in _RELATIVES:
        if any(name == end or name.endswith(f"/{end}") for name in entries):
            raise UnsoundError(f"is {what}, not a checkpoint", advice, whole=True)


def _no_checkpoint(entries: Mapping[str, ZipEntry]) -> UnsoundError:
    if any(name.endswith(".npy") for name in entries):
        other = next(name for name in entries if not name.endswith(".npy"))
        return UnsoundError(
            f"should be an archive of numpy arrays alone, found {other[:80]!r}", "Save it anew.", whole=True
        )
    return UnsoundError(
        "is a zip archive that holds no torch checkpoint",
        "Unpack it if it is an ordinary zip file, and use what is inside.",
        whole=True,
    )
