"""Read archives of numpy arrays, as JAX projects publish them. Nothing is executed, and no stated size is trusted.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from contextlib import ExitStack
from typing import IO, Any

from zoo.core.files.checkpoint.pickled_array import NumpyArray
from zoo.core.files.checkpoint.torch_dtypes import numpy_dtype
from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.checkpoint.zip_archive import STORED, ZipEntry, checked_chunks
from zoo.core.files.safetensors_file import MAX_RANK
from zoo.core.files.stored_tensor import Region

MAX_RATIO = 100
"""How many times larger than the archive all arrays may be: only zeros compress to a thousandth."""
_MAX_HEADER = 10_000
_MAGIC = b"\x93NUMPY"


def is_numpy(entries: Mapping[str, ZipEntry]) -> bool:
    """Whether an archive holds arrays and nothing else."""
    return bool(entries) and all(name.endswith(".npy") for name in entries)


def read_arrays(entries: Mapping[str, ZipEntry], resources: ExitStack) -> dict[str, NumpyArray]:
    """The arrays by name. Compressed ones go into one unnamed temporary file, closed with `resources`.

    Raises UnsoundError: damaged, contains objects, compressed more than MAX_RATIO times in all, or a wrong size.
    """
    arrays = {}
    unpacked: IO[bytes] | None = None
    left = MAX_RATIO * sum(entry.data.length for entry in entries.values())
    for entry in entries.values():
        if entry.method == STORED:
            region = _checked(entry)
        else:
            left -= entry.size
            if left < 0:
                raise _too_large(entry)
            unpacked = unpacked or resources.enter_context(_temporary_file())
            region = _unpacked(entry, unpacked)
        arrays[entry.name.removesuffix(".npy")] = _array(entry.name, region)
    return arrays


def unpacked_entry(entry: ZipEntry, resources: ExitStack) -> Region:
    """An entry as an unnamed temporary file of its own, for readers that need one; closed with `resources`.

    Raises UnsoundError: damaged, or compressed more than MAX_RATIO times.
    """
    if entry.size > MAX_RATIO * entry.data.length:
        raise _too_large(entry)
    return _unpacked(entry, resources.enter_context(_temporary_file()))


def _checked(entry: ZipEntry) -> Region:
    for _ in checked_chunks(entry):
        pass
    return entry.data


def _too_large(entry: ZipEntry) -> UnsoundError:
    return UnsoundError(
        f"its entry {entry.name[:80]!r} would unpack to {entry.size} bytes, with which the arrays would take over"
        f" {MAX_RATIO} times its size",
        "Load it with numpy if you trust it, and save it with numpy.savez.",
    )


def _temporary_file() -> IO[bytes]:
    import tempfile

    return tempfile.TemporaryFile()


def _unpacked(entry: ZipEntry, file: IO[bytes]) -> Region:
    """Append the unpacked entry to the file: one descriptor serves any number of arrays."""
    start = file.tell()
    for chunk in checked_chunks(entry):
        file.write(chunk)
    file.flush()
    return Region(file.fileno(), start, entry.size, entry.data.path)


def _array(name: str, region: Region) -> NumpyArray:
    head = os.pread(region.fd, min(region.length, 12), region.offset)
    if head[:6] != _MAGIC or len(head) < 12 or head[6] not in (1, 2, 3):
        raise UnsoundError(f"its entry {name[:80]!r} is no numpy array")
    start, layout = (10, "<H") if head[6] == 1 else (12, "<L")
    (length,) = struct.unpack_from(layout, head, 8)
    if length > _MAX_HEADER or start + length > region.length:
        raise UnsoundError(f"the header of its array {name[:80]!r} takes {length} bytes, over {_MAX_HEADER}")
    text = os.pread(region.fd, length, region.offset + start).decode("latin-1")
    descr, shape, fortran = _header(name, text)
    dtype = numpy_dtype(descr)
    if descr.lstrip("<>=|").startswith("O"):
        raise UnsoundError(
            f"its array {name[:80]!r} contains Python objects, which zoo does not load",
            "Save numbers: an array of objects is stored as a pickle.",
        )
    data = region._replace(offset=region.offset + start + length, length=region.length - start - length)
    array = NumpyArray(dtype, shape, data, fortran)
    size = dtype.size
    for n in shape:
        size *= n
    if dtype.size and size != data.length:
        raise UnsoundError(f"its array {name[:80]!r} should be {shape} of {descr}, found {data.length} bytes")
    return array


def _header(name: str, text: str) -> tuple[str, tuple[int, ...], bool]:
    from ast import literal_eval

    try:
        header: Any = literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        header = None
    if isinstance(header, dict) and header.keys() == {"descr", "fortran_order", "shape"}:
        descr, shape, fortran = header["descr"], header["shape"], header["fortran_order"]
        sizes = isinstance(shape, tuple) and len(shape) <= MAX_RANK and all(type(n) is int and n >= 0 for n in shape)
        if isinstance(descr, str) and sizes and isinstance(fortran, bool):
            return descr, shape, fortran
    raise UnsoundError(f"the header of its array {name[:80]!r} is damaged")
