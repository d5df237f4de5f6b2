"""Archives of numpy arrays as JAX projects publish them. Nothing in them is executed, no size in them is believed."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy

from zoo.core.errors import InvalidInputError

_HEADERS: dict[tuple[int, int], Any] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_MAX_HEADER = 10_000
_BFLOAT16 = np.dtype("V2")
"""What numpy makes of bfloat16, which it does not know."""


def is_npz(path: Path) -> bool:
    """Whether a file is a zip archive of .npy arrays alone. An unreadable one is not."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def read_npz(path: Path) -> dict[str, torch.Tensor]:
    """The arrays by name.

    Raises InvalidInputError: damaged, compressed (a small file could fill the memory), objects in it, or a header
    that says another size than the data has.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise InvalidInputError(
                        f"{path} should hold plain arrays, found the compressed entry {entry.filename!r}.",
                        hint="Load it with numpy and save it with numpy.savez.",
                        path=str(path),
                    )
                with archive.open(entry) as file:
                    arrays[entry.filename.removesuffix(".npy")] = _read_array(file, entry, path)
    # A damaged header gets as far as numpy's parser and its own assertions.
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, EOFError, SyntaxError, TypeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"{path} should be an archive of numpy arrays, and is damaged.",
            hint="Download or copy it again.",
            path=str(path),
        ) from error
    return arrays


def _read_array(file: IO[bytes], entry: zipfile.ZipInfo, path: Path) -> torch.Tensor:
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"version {version}")
    shape, fortran_order, dtype = _HEADERS[version](file, max_header_size=_MAX_HEADER)
    size = entry.file_size - file.tell()
    if dtype.hasobject or dtype.itemsize * math.prod(shape) != size or min(shape, default=1) < 0:
        raise InvalidInputError(
            f"{path}: the array {entry.filename!r} should be {shape} of {dtype}, found {size} bytes.", path=str(path)
        )
    array = np.frombuffer(bytearray(file.read()), np.int16 if dtype == _BFLOAT16 else dtype)
    array = array.reshape(shape, order="F" if fortran_order else "C")
    tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C", copy=False))
    return tensor.view(torch.bfloat16) if dtype == _BFLOAT16 else tensor
